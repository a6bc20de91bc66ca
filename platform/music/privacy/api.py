"""Erasure over HTTP: DELETE /v1/listeners/{user_id}, GET /v1/erasures/{request_id}. Both need a key with `admin`.

app.include_router(router(privacy, begun))   # `begun` has the server do the rest of a request in the background
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Annotated, Any

from fastapi import APIRouter, Path
from pydantic import BaseModel, ConfigDict, Field

from music.privacy.model import Receipt, Request, State
from music.privacy.service import Privacy

UserId = Annotated[
    str,
    Path(
        description="22 characters of 0-9A-Za-z",
        examples=["7LkPwQ2nTzRb4VxYcM8sHd"],
        pattern="^[0-9A-Za-z]{22}$",
    ),
]
RequestId = Annotated[
    str, Path(description="As in the answer of the DELETE", examples=["0199a2c4-7d31-7c55-9a10-3f1f0f6b2f11"])
]
_PROBLEMS: dict[int | str, dict[str, Any]] = {
    400: {"description": "malformed id"},
    404: {"description": "unknown id"},
    503: {"description": "the log cannot be written now; ask again"},
}


class ErasureOut(BaseModel):
    """How far an erasure is."""

    model_config = ConfigDict(extra="forbid")

    request_id: str
    state: State
    done: list[str] = Field(description="Names of the steps that are done", examples=[["look", "key"]])
    receipt: Receipt | None = Field(description="Once the state is `done`")


def router(privacy: Privacy, begun: Callable[[Request], None]) -> APIRouter:
    """The endpoints over one home's requests."""
    routes = APIRouter(prefix="/v1", tags=["privacy"])

    @routes.delete("/listeners/{user_id}", status_code=202, responses=_PROBLEMS)
    def erase(user_id: UserId) -> ErasureOut:
        """Erases a listener. When this answers, their key is destroyed, and nothing more is recorded of them.

        The rest (lake, features, releases, receipt) follows in the background; asking again is safe.
        """
        request = privacy.request(user_id, time.time_ns() // 1_000_000)
        begun(request)
        return shown(privacy, request)

    @routes.get("/erasures/{request_id}", responses=_PROBLEMS)
    def erasure(request_id: RequestId) -> ErasureOut:
        """How far an erasure is, and its receipt."""
        return shown(privacy, privacy.requests.get(request_id))

    return routes


def shown(privacy: Privacy, request: Request) -> ErasureOut:
    """A request as it is answered; it never repeats whom it is about."""
    receipt = privacy.requests.receipt(request.id) if request.state == State.DONE else None
    return ErasureOut(
        request_id=request.id,
        state=request.state,
        done=[step.name for step in request.steps],
        receipt=receipt,
    )
