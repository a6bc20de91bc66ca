"""Requests for erasure and their receipts: plain values, without a framework and without a clock."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import orjson
from pydantic import BaseModel, ConfigDict

FORMAT = 1


class State(StrEnum):
    """How far an erasure is; it only goes forward."""

    REQUESTED = "requested"
    RUNNING = "running"
    DONE = "done"


class Step(BaseModel):
    """One finished step: what it found and removed, in numbers and names of things that are no listener's."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    at: int  # UTC ms
    facts: dict[str, Any]


class Request(BaseModel):
    """One erasure. While it runs it has to know whom it is about; when it is done it forgets that."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: str
    state: State
    listener: str  # keyed hash of the id: only this home can make it, and nobody can undo it
    user_id: str | None
    requested_at: int  # UTC ms
    done_at: int | None = None
    problem: str | None = None  # why the last try to end it did not, without the id
    steps: tuple[Step, ...] = ()

    def after(self, step: Step) -> Request:
        """The request with one more step done."""
        return self.model_copy(update={"state": State.RUNNING, "problem": None, "steps": (*self.steps, step)})

    def failed(self, problem: str) -> Request:
        """The request after a try that did not end it; `problem` may say the id, which is left out."""
        said = problem.replace(self.user_id, "(the listener)") if self.user_id else problem
        return self.model_copy(update={"problem": said})

    def ended(self, at: int) -> Request:
        """The request when all is done, without the id."""
        return self.model_copy(update={"state": State.DONE, "done_at": at, "user_id": None, "problem": None})

    def did(self, name: str) -> bool:
        return any(step.name == name for step in self.steps)


@dataclass(frozen=True)
class Case:
    """What a step is called with."""

    user_id: str
    request: Request  # as it is after the steps before
    now: int  # UTC ms


class Receipt(BaseModel):
    """What was removed where. Nothing in it tells who it was; `digest` and `seal` tell whether it was changed."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: int = FORMAT
    id: str
    listener: str
    requested_at: int
    done_at: int
    removed: dict[str, dict[str, Any]]  # by place
    digest: str = ""  # SHA-256 of everything above, as sorted JSON
    seal: str = ""  # keyed hash of the digest: made in this home

    def request(self) -> Request:
        """The request that it ended."""
        steps = []
        for name, facts in self.removed.items():
            rest = {key: value for key, value in facts.items() if key != "at"}
            steps.append(Step(name=name, at=facts["at"], facts=rest))
        return Request(
            id=self.id,
            state=State.DONE,
            listener=self.listener,
            user_id=None,
            requested_at=self.requested_at,
            done_at=self.done_at,
            steps=tuple(steps),
        )

    def body(self) -> bytes:
        """What the digest is of."""
        return orjson.dumps(self.model_dump(exclude={"digest", "seal"}), option=orjson.OPT_SORT_KEYS)

    def digested(self) -> str:
        """The digest that the receipt should have."""
        return hashlib.sha256(self.body()).hexdigest()
