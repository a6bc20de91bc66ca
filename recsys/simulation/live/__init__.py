"""Live listeners: the simulated population reacts to whatever is recommended to it, on simulated time.

world = LiveWorld.at(profile, catalog, profile.split_day)
for lived in days(world, Random(catalog), LiveSettings(), 14):
    print(lived.figures)

docs/loop.md says what is modelled.
"""

from recsys.simulation.live.day import LiveDay, Shown
from recsys.simulation.live.figures import DayFigures, Ledger, retention
from recsys.simulation.live.linear import Linear
from recsys.simulation.live.policies import Blend, Popular, Random
from recsys.simulation.live.ports import Policy, Requests, Served
from recsys.simulation.live.run import Clock, Lived, LiveSettings, days
from recsys.simulation.live.values import Values
from recsys.simulation.live.world import LiveWorld

__all__ = [
    "Blend",
    "Clock",
    "DayFigures",
    "Ledger",
    "Linear",
    "LiveDay",
    "LiveSettings",
    "LiveWorld",
    "Lived",
    "Policy",
    "Popular",
    "Random",
    "Requests",
    "Served",
    "Shown",
    "Values",
    "days",
    "retention",
]
