"""What a gate finds out, plain and ready for JSON: checks, stages, and the state of a run that survives a kill.

state = State.read(path); state.write(path)
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import orjson

from recsys.errors import BadInput
from recsys.files import write_whole
from serving.gating.settings import GateSettings

Outcome = Literal["passed", "stopped", "unclear", "running"]
Status = Literal["running", "promoted", "stopped"]
_PLAIN = orjson.OPT_INDENT_2 | orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_NON_STR_KEYS  # not finite: null
STAGES = ("smoke", "offline", "off_policy", "shadow", "canary", "wide")


@dataclass(frozen=True)
class Check:
    """One rule and what it saw. `unclear`: the data cannot tell, and the settings say what follows."""

    rule: str  # stage.name
    outcome: Outcome
    sentence: str
    numbers: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Stage:
    """What one stage has found so far; the first check that stopped it decides."""

    name: str
    outcome: Outcome
    at: int  # UTC ms
    checks: list[Check]
    series: dict[str, Any] = field(default_factory=dict)  # for pictures

    @property
    def stopped_by(self) -> Check | None:
        return next((check for check in self.checks if check.outcome == "stopped"), None)


def stage(name: str, at: int, checks: list[Check], series: dict[str, Any] | None = None) -> Stage:
    """A stage's outcome from its checks: stopped before running before unclear before passed."""
    found = {check.outcome for check in checks}
    order: tuple[Outcome, ...] = ("stopped", "running", "unclear")
    return Stage(name, next((o for o in order if o in found), "passed"), at, checks, series or {})


@dataclass
class State:
    """A run of the gate.

    Attributes:
        champion, challenger: versions. digests: of both, so that nothing is swapped under way.
        begun: UTC ms at which each stage began.
        rule: that ended the run.
        plan: of the canary: experiment, start, and when it was widened (UTC ms), shares.
    """

    name: str
    champion: str
    challenger: str
    digests: dict[str, str]
    settings: GateSettings
    started: int
    status: Status = "running"
    stage: str = STAGES[0]
    rule: str = ""
    sentence: str = ""
    ended: int | None = None
    begun: dict[str, int] = field(default_factory=dict)
    stages: list[Stage] = field(default_factory=list)
    plan: dict[str, Any] = field(default_factory=dict)

    def of(self, name: str) -> Stage | None:
        """What a stage has found; None where it has not been looked at."""
        return next((one for one in self.stages if one.name == name), None)

    def found(self, stage: Stage) -> None:
        """Puts a stage's newest finding in the place of its older one."""
        self.stages = [one for one in self.stages if one.name != stage.name] + [stage]

    def body(self) -> dict[str, Any]:
        """JSON-able."""
        rest = {name: value for name, value in vars(self).items() if name not in ("settings", "stages")}
        return {
            **rest,
            "settings": self.settings.model_dump(mode="json"),
            "stages": [asdict(one) for one in self.stages],
        }

    def write(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, orjson.dumps(self.body(), option=_PLAIN))

    @classmethod
    def read(cls, path: Path) -> State:
        """What `write` wrote.

        Raises:
            BadInput: the file cannot be read.
        """
        try:
            body = orjson.loads(path.read_bytes())
            stages = [Stage(**{**s, "checks": [Check(**c) for c in s["checks"]]}) for s in body["stages"]]
            return cls(
                **{**body, "settings": GateSettings.model_validate(body["settings"]), "stages": stages}
            )
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise BadInput(f"{path} is no state of a gate: {error}") from error
