"""Training throughput of the sequence model: tokens/s, the share of the machine's matrix-product ceiling, and where the
rest of the time goes.

    python -m benchmarks.train_throughput                 # MovieLens-1M if ../shared/data is there, else random ids

Counted operations of one prediction (a multiplication and an addition are two; the backward pass costs twice the
forward, so all is times three), with width d, expansion e, t tokens to a row, m items and L blocks:

    L * (8 d^2 + 4 e d^2 + 4 t d) + 2 d m

projections, feed-forward, attention scores and sums over whole rows (the masked half counts: it is computed), and
scores of all items. The ceiling is measured in the same run, before and after: products of (4096, d) and (d, 4 d), of
(2048, d) and (d, m), on the same threads, the better of both; in float32 and in bfloat16.
"""

from __future__ import annotations

import argparse
import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

from pathlib import Path
from time import process_time
from typing import Any

import numpy as np
import torch

from benchmarks import ml1m
from benchmarks.results import table, write
from models.sequence.idbatches import id_batch, row_plans
from models.sequence.idnetwork import IdConfig
from models.sequence.idtrain import Run
from recsys.evaluation.ragged import Ragged

SETTINGS: dict[str, Any] = {
    "embedding_dim": 64,
    "num_heads": 1,
    "expansion": 1,
    "feed_forward": "relu",
    "positions": "relative",
    "batch_tokens": 3_200,
    "windows": "all",
}
VARIANTS: dict[str, dict[str, Any]] = {
    "length 50": {"max_length": 50},
    "length 50, float32": {"max_length": 50, "precision": "float32"},
    "length 200": {"max_length": 200},
    "length 200, packed rows": {"max_length": 200, "rows": "packed"},
    "length 200, packed rows, newest": {"max_length": 200, "rows": "packed", "windows": "last"},
    "length 200, newest": {"max_length": 200, "windows": "last"},
    "length 200, width 128": {"max_length": 200, "embedding_dim": 128, "num_heads": 2},
    "length 200, width 128, float32": {
        "max_length": 200,
        "embedding_dim": 128,
        "num_heads": 2,
        "precision": "float32",
    },
}
GROUPS = {
    "item scores and their gradients (products)": ("loss_products",),
    "item softmax": ("loss_softmax",),
    "other of the loss": ("_SoftmaxLoss",),
    "other products": ("aten::mm", "aten::addmm"),
    "attention (products)": ("aten::bmm", "aten::baddbmm", "scaled_dot_product"),
    "attention softmax": ("aten::_softmax",),
    "optimiser": ("adamw", "Optimizer"),
    "embedding gather and scatter": ("embedding", "index", "gather", "scatter"),
    "normalisation": ("layer_norm",),
    "dropout": ("_Dropout", "aten::ge"),
    "copies and types": ("aten::copy_", "aten::to", "aten::clone", "aten::cat", "contiguous"),
    "elementwise": (
        "aten::add",
        "aten::mul",
        "aten::div",
        "relu",
        "gelu",
        "silu",
        "sigmoid",
        "threshold",
        "sum",
    ),
}
STEPS = 30


def ceiling(d: int, m: int, kind: torch.dtype) -> float:
    """Operations a CPU second of large products, the best of several."""
    best = 0.0
    for rows, columns in ((4096, 4 * d), (2048, m)):
        a, b = torch.randn(rows, d).to(kind), torch.randn(columns, d).to(kind)
        for _ in range(12):
            began = process_time()
            for _ in range(8):
                a @ b.T
            best = max(best, 8 * 2 * rows * d * columns / max(process_time() - began, 1e-9))
    return best


def operations(config: IdConfig, items: int, rows: int, slots: int, predictions: int) -> float:
    """Counted operations of a step (module docstring); layers work on every slot, the loss on predictions."""
    d, e, blocks = config.embedding_dim, config.expansion, config.num_layers
    layers = rows * slots * blocks * (8 * d * d + 4 * e * d * d + 4 * slots * d)
    return 3.0 * (layers + predictions * 2 * d * items)


def measure(sequences: Ragged, items: int, config: IdConfig) -> dict[str, Any]:
    """Steps of training on batches made beforehand, and the making of batches, in CPU seconds."""
    run = Run.of(sequences, items, config)
    plans = row_plans(sequences.offsets, config, np.random.default_rng(0))[: STEPS + 3]
    began = process_time()
    made = [id_batch(sequences, items, plan, config) for plan in plans]
    making = (process_time() - began) / len(plans)
    kind = torch.bfloat16 if config.precision != "float32" else torch.float32
    before = ceiling(config.embedding_dim, items, kind)
    run.network.train()
    for batch in made[:3]:
        run.advance(batch, 0.5)
    began = process_time()
    for batch in made[3:]:
        run.advance(batch, 0.5)
    spent = process_time() - began
    top = max(before, ceiling(config.embedding_dim, items, kind))
    slots = sum(b.ids.numel() for b in made[3:])
    predictions = sum(len(b.target) for b in made[3:])
    counted = sum(operations(config, items, b.ids.shape[0], b.ids.shape[1], len(b.target)) for b in made[3:])
    rate = predictions / (spent + making * len(made[3:]))
    return {
        "tokens_per_cpu_s": rate,
        "padding": 1 - predictions / slots,
        "operations_per_token": counted / predictions,
        "ceiling_per_cpu_s": top,
        "share_of_ceiling": counted / (spent + making * len(made[3:])) / top,
        "batches_share": making * len(made[3:]) / (spent + making * len(made[3:])),
    }


def profile(sequences: Ragged, items: int, config: IdConfig) -> dict[str, float]:
    """Share of a step's own CPU time by kind of work."""
    from torch.profiler import ProfilerActivity
    from torch.profiler import profile as profiler

    run = Run.of(sequences, items, config)
    plans = row_plans(sequences.offsets, config, np.random.default_rng(0))[:13]
    made = [id_batch(sequences, items, plan, config) for plan in plans]
    run.network.train()
    for batch in made[:3]:
        run.advance(batch, 0.5)
    with profiler(activities=[ProfilerActivity.CPU]) as trace:
        for batch in made[3:]:
            run.advance(batch, 0.5)
    shares = dict.fromkeys([*GROUPS, "other"], 0.0)
    for event in trace.events() or []:
        shares[_group(event)] += event.self_cpu_time_total
    whole = sum(shares.values())
    return {name: value / whole for name, value in shares.items()}


def _group(event: Any) -> str:
    name, parent = event.name, event.cpu_parent
    inside = False
    while parent is not None:
        inside |= parent.name == "_SoftmaxLoss"
        parent = parent.cpu_parent
    if inside and name in ("aten::mm", "aten::_softmax"):
        name = "loss_products" if name == "aten::mm" else "loss_softmax"
    elif inside:
        name = "_SoftmaxLoss"
    for group, words in GROUPS.items():
        if any(word in name for word in words):
            return group
    return "other"


def data(folder: Path) -> tuple[Ragged, int, str]:
    """MovieLens-1M's training part, or ids of the same number drawn at random."""
    if (folder / "ml1m_sasrec.parquet").exists():
        return ml1m.load(folder).histories(valid=True), ml1m.ITEMS, "MovieLens-1M"
    rng = np.random.default_rng(0)
    sizes = np.minimum(rng.geometric(1 / 150, 6_000) + 10, 2_000)
    offsets = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    return Ragged(offsets, rng.integers(0, ml1m.ITEMS, offsets[-1]).astype(np.int32)), ml1m.ITEMS, "random"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, default=ml1m.DATA)
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    sequences, items, source = data(given.data)
    found = {
        name: measure(sequences, items, IdConfig(**{**SETTINGS, **change, "num_threads": given.threads}))
        for name, change in VARIANTS.items()
    }
    head = ["", "tokens/CPU s", "Mflop/token", "ceiling Gflop/s", "share of it", "padding", "making batches"]
    rows = [
        [
            name,
            f"{f['tokens_per_cpu_s']:,.0f}",
            f"{f['operations_per_token'] / 1e6:.2f}",
            f"{f['ceiling_per_cpu_s'] / 1e9:.0f}",
            f"{f['share_of_ceiling']:.0%}",
            f"{f['padding']:.1%}",
            f"{f['batches_share']:.1%}",
        ]
        for name, f in found.items()
    ]
    table(head, rows)
    profiles = {
        name: profile(sequences, items, IdConfig(**{**SETTINGS, **VARIANTS[name]}))
        for name in ("length 50", "length 200, width 128")
    }
    table(
        ["share of a step", *profiles],
        [[group, *(f"{p[group]:.1%}" for p in profiles.values())] for group in [*GROUPS, "other"]],
    )
    figures = {
        "data": source,
        "threads": given.threads,
        "throughput": found,
        "profile": profiles,
        "gpu": None,
    }
    print(write("train-throughput", figures))


if __name__ == "__main__":
    main()
