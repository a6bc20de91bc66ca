"""What assignment costs: each hash vectorised and singly, and a whole config, one by one and in bulk.

python -m benchmarks.assignment --units 1000000

Times are CPU seconds of one thread (the least of five runs), wall time beside them: on a shared machine the latter also
measures the neighbours.
"""

from __future__ import annotations

import argparse
import random
import string
import time
from collections.abc import Callable
from typing import Any

from benchmarks.results import table, write
from experiments.assign import assign, assign_many
from experiments.bucketing import code_units
from experiments.config import Config
from experiments.hashing import Hash, Placer, Units, slots

NOW = 1_764_547_200_000
RUNS = 5


def main() -> None:
    """Measures, prints, writes JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--units", type=int, default=1_000_000, help="ids at once")
    parser.add_argument("--singly", type=int, default=20_000, help="ids one by one")
    options = parser.parse_args()
    ids = public_ids(options.units)
    rows = [of_hash(kind, ids, ids[: options.singly]) for kind in Hash]
    rows += [of_config(name, config, ids, ids[: options.singly]) for name, config in configs().items()]
    table(list(rows[0]), [list(row.values()) for row in rows])
    print(write("assignment", {"units": options.units, "rows": rows}))


def public_ids(n: int) -> list[str]:
    draw = random.Random(0)
    return ["".join(draw.choices(string.ascii_letters + string.digits, k=22)) for _ in range(n)]


def of_hash(kind: Hash, ids: list[str], few: list[str]) -> dict[str, Any]:
    """One experiment's hash; vectorised, ids are decomposed within the time."""
    placer = Placer(kind, "salt-1")
    bulk = least(lambda: slots(kind, "salt-1", Units.of(ids)))
    single = least(lambda: [placer.slot(unit, code_units(unit)) for unit in few])
    return row(kind.value, bulk, len(ids), single, len(few))


def of_config(name: str, config: Config, ids: list[str], few: list[str]) -> dict[str, Any]:
    """Every experiment of a config for a listener: what a request pays."""
    count = max(1, len(config.running))
    bulk = least(lambda: assign_many(config, ids, NOW))
    given = {"country": "SE", "tier": "free", "platform": "mobile", "cohort": ("known",)}
    single = least(lambda: [assign(config, unit, NOW, given) for unit in few])
    return row(name, bulk, len(ids) * count, single, len(few))


def row(
    name: str, bulk: tuple[float, float], many: int, single: tuple[float, float], few: int
) -> dict[str, Any]:
    return {
        "what": name,
        "assignments/s, bulk": round(many / bulk[0]),
        "by wall time": round(many / bulk[1]),
        "us singly": round(single[0] / few * 1e6, 2),
        "us by wall time": round(single[1] / few * 1e6, 2),
    }


def least(work: Callable[[], object]) -> tuple[float, float]:
    """(CPU seconds, wall seconds), each the least of some runs."""
    cpu, wall = [], []
    for _ in range(RUNS):
        begin = time.process_time(), time.perf_counter()
        work()
        cpu.append(time.process_time() - begin[0])
        wall.append(time.perf_counter() - begin[1])
    return min(cpu), min(wall)


def configs() -> dict[str, Config]:
    """Nothing running; one experiment; four in two layers with a holdout, one of them targeted."""
    arms = [{"name": "a", "weight": 0.5}, {"name": "b", "weight": 0.5}]
    one = [{"name": "e", "salt": "e-1", "arms": arms}]
    four: list[dict[str, Any]] = [
        {"name": f"e{i}", "salt": f"e{i}-1", "arms": arms, "layer": layer}
        for i, layer in enumerate(
            {"name": name, "start": start, "end": start + 0.5} for name in ("x", "y") for start in (0.0, 0.5)
        )
    ]
    four[0]["targeting"] = {"country": {"$in": ["SE", "NO"]}}
    shared = {
        "layers": [{"name": "x"}, {"name": "y"}],
        "holdouts": [{"name": "h", "salt": "h-1", "share": 0.05}],
    }
    return {
        "nothing running": Config(),
        "1 experiment": Config.model_validate({"experiments": one}),
        "4 in 2 layers, holdout, targeting": Config.model_validate({"experiments": four, **shared}),
    }


if __name__ == "__main__":
    main()
