"""The simulated world: listeners with known tastes write logs of the form a service would have.

    from recsys.simulation import PROFILES, simulate
    simulate(PROFILES["tiny"], Home.of("var").make())

What is hidden from models lives in `recsys.simulation.truth`, which only evaluation, benchmarks and tests import.
"""

from recsys.simulation.engine import SimulationSummary, simulate
from recsys.simulation.profiles import PROFILES, Profile

WORLD_VERSION = "1"
"""Changes whenever the same profile and seed would give other rows."""

__all__ = ["PROFILES", "WORLD_VERSION", "Profile", "SimulationSummary", "simulate"]
