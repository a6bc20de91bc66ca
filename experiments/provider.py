"""Flags and experiments behind OpenFeature's API: `pip install recsys[flags]`; nothing else imports this module.

api.set_provider(Provider(lambda: running.live.config, exposed=log))
client.get_boolean_value("new-page", False, EvaluationContext(user_id, {"country": "SE"}))

A flag's key is an experiment's name (its value: the arm's `value`; as a text, without one, the arm's name; as an object
the arm's parameters) or the path of a parameter that arms set. Asking is the moment of effect: it is exposed then.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from openfeature.evaluation_context import EvaluationContext
from openfeature.exception import ErrorCode
from openfeature.flag_evaluation import FlagResolutionDetails, Reason
from openfeature.provider import AbstractProvider, Metadata

from experiments.assign import Verdict, arm_of
from experiments.config import Config
from experiments.experiment import Arm, Experiment
from experiments.exposure import Exposure

_KINDS: dict[str, Any] = {
    "boolean": (bool,),
    "string": (str,),
    "integer": (int,),
    "float": (float, int),
    "object": (dict, list),
}


class Provider(AbstractProvider):
    """An OpenFeature provider over the running config.

    Args:
        config: gives the config as it is now.
        exposed: called for every unit that is given an arm, when it asks.
        clock: UTC ms.
    """

    def __init__(
        self,
        config: Callable[[], Config],
        exposed: Callable[[Exposure], None] | None = None,
        clock: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    ) -> None:
        super().__init__()
        self._config, self._exposed, self._clock = config, exposed, clock

    def resolve(
        self, key: str, default: Any, kind: str, context: EvaluationContext | None
    ) -> FlagResolutionDetails[Any]:
        """A flag's value for a unit; the default, with the reason, where there is none."""
        config, context = self._config(), context or EvaluationContext()
        meant, path = _meant(config, key)
        if not meant:
            return _error(
                default, ErrorCode.FLAG_NOT_FOUND, f"no flag, experiment or parameter is called {key}"
            )
        answers = (self._answer(config, one, path, default, kind, context) for one in meant)
        first = next(answers)
        return first if first.variant else next((one for one in answers if one.variant), first)

    def _answer(
        self,
        config: Config,
        experiment: Experiment,
        path: str,
        default: Any,
        kind: str,
        context: EvaluationContext,
    ) -> FlagResolutionDetails[Any]:
        """What one experiment says; without a variant where the unit is in none of its arms."""
        key = path or experiment.name
        if not experiment.active:
            return FlagResolutionDetails(default, reason=Reason.DISABLED)
        ids = _ids(experiment, context)
        if not ids.get(experiment.unit):
            return _error(
                default, ErrorCode.TARGETING_KEY_MISSING, f"{key} wants the id of a {experiment.unit}"
            )
        now = self._clock()
        verdict = arm_of(config, experiment.name, ids, now, context.attributes)
        if verdict.arm is None:
            return FlagResolutionDetails(default, reason=Reason.DEFAULT, flag_metadata={"why": verdict.why})
        arm = next(arm for arm in experiment.arms if arm.name == verdict.arm)
        value = default if path and path not in arm.parameters else _value(arm, path, kind)
        if isinstance(value, bool) != (kind == "boolean") or not isinstance(value, _KINDS[kind]):
            return _error(default, ErrorCode.TYPE_MISMATCH, f"{key} is no {kind} for arm {arm.name}")
        self._show(experiment, verdict, str(ids[experiment.unit]), config.version, now)
        return FlagResolutionDetails(
            float(value) if kind == "float" else value,
            reason=_reason(experiment, verdict),
            variant=arm.name,
            flag_metadata={"experiment": experiment.name, "version": config.version, "why": verdict.why},
        )

    def _show(self, experiment: Experiment, verdict: Verdict, unit: str, version: str, now: int) -> None:
        if self._exposed is not None and verdict.arm is not None:
            overridden = verdict.why == "override"
            found = Exposure(
                experiment.name, verdict.arm, unit, experiment.unit, version, None, None, now, overridden
            )
            self._exposed(found)

    def resolve_boolean_details(
        self, flag_key: str, default_value: bool, evaluation_context: EvaluationContext | None = None
    ) -> FlagResolutionDetails[Any]:
        return self.resolve(flag_key, default_value, "boolean", evaluation_context)

    def resolve_string_details(
        self, flag_key: str, default_value: str, evaluation_context: EvaluationContext | None = None
    ) -> FlagResolutionDetails[Any]:
        return self.resolve(flag_key, default_value, "string", evaluation_context)

    def resolve_integer_details(
        self, flag_key: str, default_value: int, evaluation_context: EvaluationContext | None = None
    ) -> FlagResolutionDetails[Any]:
        return self.resolve(flag_key, default_value, "integer", evaluation_context)

    def resolve_float_details(
        self, flag_key: str, default_value: float, evaluation_context: EvaluationContext | None = None
    ) -> FlagResolutionDetails[Any]:
        return self.resolve(flag_key, default_value, "float", evaluation_context)

    def resolve_object_details(
        self,
        flag_key: str,
        default_value: Sequence[Any] | Mapping[str, Any],
        evaluation_context: EvaluationContext | None = None,
    ) -> FlagResolutionDetails[Any]:
        return self.resolve(flag_key, default_value, "object", evaluation_context)

    def get_metadata(self) -> Metadata:
        return Metadata(name="recsys-experiments")


def _meant(config: Config, key: str) -> tuple[list[Experiment], str]:
    """The experiment that a key names; or the running ones whose arms set the parameter, and its path.

    Of the latter a unit is in one at most.
    """
    named = config.experiment(key)
    if named is not None:
        return [named], ""
    return [e for e in config.running if key in e.sets() and key != "release"], key


def _ids(experiment: Experiment, context: EvaluationContext) -> dict[str, str | None]:
    """The unit's id is the targeting key; a listener's may stand beside it as `user_id`, for targeting."""
    ids: dict[str, str | None] = {"listener": str(context.attributes.get("user_id") or "") or None}
    return ids | {experiment.unit: context.targeting_key}


def _value(arm: Arm, path: str, kind: str) -> Any:
    if path:
        return arm.parameters[path]
    if arm.value is not None:
        return arm.value
    return {"string": arm.name, "object": dict(arm.parameters)}.get(kind)


def _reason(experiment: Experiment, verdict: Verdict) -> Reason:
    if verdict.why == "override" or experiment.targeting:
        return Reason.TARGETING_MATCH
    return Reason.STATIC if len(experiment.arms) == 1 else Reason.SPLIT


def _error(default: Any, code: ErrorCode, message: str) -> FlagResolutionDetails[Any]:
    return FlagResolutionDetails(default, error_code=code, error_message=message, reason=Reason.ERROR)
