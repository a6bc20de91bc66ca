"""Settings of a service under test by which a busy machine answers in full as well; ladders have tests of their own."""

from __future__ import annotations

from serving.settings import LadderSettings, ServiceSettings, SheddingSettings

_LADDER = LadderSettings(rung_ms=60_000, ladder_ms=90_000, last_ms=90_000, state_ms=30_000)
_SHEDDING = SheddingSettings(light_ms=60_000, least_ms=90_000, interval_ms=60_000)


def patient(settings: ServiceSettings | None = None) -> ServiceSettings:
    """The same settings without a hurry; the guard with its threads stays."""
    unhurried = {"source_budget_ms": 60_000.0, "ladder": _LADDER, "shedding": _SHEDDING}
    return (settings or ServiceSettings()).model_copy(update=unhurried)
