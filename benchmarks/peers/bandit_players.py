"""Vowpal Wabbit, MABWiser and Open Bandit Pipeline as players; runs in their environment (`make peers`).

python -m benchmarks.peers.bandit_players WANTED.json STREAMS OUT.jsonl
"""

from __future__ import annotations

import json
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.peers.bandit_play import F64, Make, run_all

# Four settings each, as ours. Exploration is the axis that matters most; learning rates where the method has one.
# A second round, as ours had: where the tuning seeds chose an edge of the first grid, the grid moved beyond it.
GRIDS: dict[str, list[dict[str, Any]]] = {
    "vw epsilon-greedy": [{"o": f"--epsilon {e} -l {r}"} for e in (0.05, 0.1) for r in (10, 30)],
    "vw softmax": [{"o": f"--softmax --lambda {v} -l {r}"} for v in (10, 20) for r in (1, 2)],
    "vw bag": [{"o": f"--bag {b} --greedify --epsilon 0.02 -l {r}"} for b in (3, 5) for r in (10, 30)],
    "vw squarecb": [{"o": f"--squarecb --gamma_scale {g} -l {r}"} for g in (1e2, 1e3) for r in (10, 30)],
    "vw regcb": [
        {"o": f"--regcbopt --mellowness {m} --cb_min_cost -1 --cb_max_cost 0 -l {r}"}
        for m in (0.000001, 0.0001)
        for r in (10, 30)
    ],
    "mabwiser linucb": [{"alpha": a} for a in (0.3, 0.45, 0.6, 0.8)],
    "mabwiser lints": [{"alpha": a} for a in (0.1, 0.15, 0.2, 0.3)],
    "obp linucb": [{"epsilon": e} for e in (0.3, 0.45, 0.6, 0.8)],
    "obp lints": [{"scale": s} for s in (4.0, 6.0, 8.0, 12.0)],
    "obp logistic ts": [{"lambda_": s} for s in (0.3, 0.6, 1.0, 2.0)],
}


class Vw:
    """Vowpal Wabbit with action-dependent features: an arm's weights are those of context times arm."""

    def __init__(self, setting: dict[str, Any], arms: int, seed: int) -> None:
        from vowpalwabbit import Workspace

        options = f"--cb_explore_adf {setting['o']} --interactions xa"
        self._vw = Workspace(f"{options} --quiet --random_seed {seed + 1}", enable_logging=False)
        self._arms, self._rng = arms, np.random.default_rng([seed, 5])
        self._lines = [f"|a a{i}" for i in range(arms)]

    def select(self, x: F64) -> tuple[int, float]:
        pmf = np.array(self._vw.predict([self._shared(x), *self._lines]))
        arm = min(
            int((pmf.cumsum() / pmf.sum()).searchsorted(self._rng.random(), side="right")), self._arms - 1
        )
        return arm, float(pmf[arm])

    def update(self, x: F64, arm: int, reward: float, probability: float) -> None:
        lines = list(self._lines)
        lines[arm] = f"0:{-reward}:{probability} {lines[arm]}"
        self._vw.learn([self._shared(x), *lines])

    @staticmethod
    def _shared(x: F64) -> str:
        return "shared |x " + " ".join(f"f{i}:{v:.6g}" for i, v in enumerate(x))


class MabWiser:
    """MABWiser; it learns nothing before its first `fit`, so the first arm is drawn."""

    def __init__(self, policy: Any, arms: int, seed: int) -> None:
        from mabwiser.mab import MAB

        self._mab = MAB(list(range(arms)), policy, seed=seed)
        self._fitted, self._first = False, int(np.random.default_rng([seed, 5]).integers(arms))

    def select(self, x: F64) -> tuple[int, float]:
        return (int(self._mab.predict(x[None])) if self._fitted else self._first), 1.0

    def update(self, x: F64, arm: int, reward: float, probability: float) -> None:  # noqa: ARG002
        (self._mab.partial_fit if self._fitted else self._mab.fit)([arm], [reward], x[None])
        self._fitted = True


class Obp:
    """A contextual policy of Open Bandit Pipeline.

    Its LinTS has no width to set: rewards times `scale` do the same. Its logistic loss is that of labels -1 and 1,
    under which a reward of 0 teaches nothing: `signed` gives it such labels.
    """

    def __init__(self, policy: Any, scale: float = 1.0, signed: bool = False) -> None:
        self._policy, self._scale, self._signed = policy, scale, signed

    def select(self, x: F64) -> tuple[int, float]:
        return int(self._policy.select_action(x[None])[0]), 1.0

    def update(self, x: F64, arm: int, reward: float, probability: float) -> None:  # noqa: ARG002
        told = 2 * reward - 1 if self._signed else self._scale * reward
        self._policy.update_params(action=arm, reward=told, context=x[None])


def makers() -> dict[str, Make]:
    from mabwiser.mab import LearningPolicy
    from obp.policy import LinTS, LinUCB, LogisticTS

    def vw(setting: dict[str, Any], _dim: int, arms: int, seed: int) -> Vw:
        return Vw(setting, arms, seed)

    def mab(kind: Any) -> Make:
        return lambda setting, _dim, arms, seed: MabWiser(kind(**setting), arms, seed)

    def obp(kind: Any, signed: bool = False) -> Make:
        def make(setting: dict[str, Any], dim: int, arms: int, seed: int) -> Obp:
            given = dict(setting)
            scale = given.pop("scale", 1.0)
            return Obp(kind(dim=dim, n_actions=arms, random_state=seed, **given), scale, signed)

        return make

    return {
        **{name: vw for name in GRIDS if name.startswith("vw ")},
        "mabwiser linucb": mab(LearningPolicy.LinUCB),
        "mabwiser lints": mab(LearningPolicy.LinTS),
        "obp linucb": obp(LinUCB),
        "obp lints": obp(LinTS),
        "obp logistic ts": obp(LogisticTS, signed=True),
    }


def main() -> None:
    if len(sys.argv) == 1:
        names = ("vowpalwabbit", "mabwiser", "sb-obp", "numpy")
        print(json.dumps({"versions": {n: version(n) for n in names}, "grids": GRIDS}))
        return
    wanted, streams, out = (Path(a) for a in sys.argv[1:])
    run_all(json.loads(wanted.read_text()), makers(), streams, out)


if __name__ == "__main__":
    main()
