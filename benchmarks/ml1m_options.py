"""What benchmarks/ml1m_sequence.py compares on validation, and what it then trains for the test figures.

Every option is the base with something changed, trained equally long: a small budget that ranks, not the best figure.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

BASE: dict[str, Any] = {
    "embedding_dim": 64,
    "num_heads": 1,
    "expansion": 1,
    "feed_forward": "relu",
    "positions": "learned",
    "dropout": 0.1,
    "max_length": 50,
    "batch_tokens": 1_600,
    "learning_rate": 2e-3,
    "epochs": 8,
}
"""SASRec, pre-norm, full cross-entropy."""

CHANGES: dict[str, dict[str, Any]] = {
    "base": {},
    "rotary": {"positions": "rotary"},
    "relative": {"positions": "relative"},
    "no-positions": {"positions": "none"},
    "gated": {"block": "gated"},
    "gated-swiglu": {"block": "gated", "feed_forward": "swiglu"},
    "pointwise-relative": {"block": "pointwise", "positions": "relative", "feed_forward": "none"},
    "relative-gated": {"positions": "relative", "block": "gated"},
    "gelu-4x": {"feed_forward": "gelu", "expansion": 4},
    "width-128": {"embedding_dim": 128, "num_heads": 2},
    "width-256": {"embedding_dim": 256, "num_heads": 4},
    "two-heads": {"num_heads": 2},
    "dropout-0": {"dropout": 0.0},
    "dropout-0.3": {"dropout": 0.3},
    "width-128-dropout-0.3": {"embedding_dim": 128, "num_heads": 2, "dropout": 0.3},
    "width-128-dropout-0.3-relative": {
        "embedding_dim": 128,
        "num_heads": 2,
        "dropout": 0.3,
        "positions": "relative",
    },
    "one-layer": {"num_layers": 1},
    "three-layers": {"num_layers": 3},
    "untied": {"tied": False},
    "item-bias": {"item_bias": True},
    "label-smoothing-0.1": {"label_smoothing": 0.1},
    "negatives-256": {"num_negatives": 256},
    "negatives-1024": {"num_negatives": 1_024},
    "gbce-256": {"loss": "gbce", "num_negatives": 256, "uniform_share": 1.0},
    "average-0.999": {"average": 0.999},
    "weight-decay-0.1": {"weight_decay": 0.1},
    "all-windows": {"windows": "all", "epochs": 2},
    "length-200": {"max_length": 200, "epochs": 3, "positions": "relative"},
    "float32": {"precision": "float32"},
    "packed": {"rows": "packed"},
}
OPTIONS = {name: {**BASE, **change} for name, change in CHANGES.items()}


@dataclass(frozen=True)
class Final:
    """Settings chosen on validation, measured on test every few passes."""

    label: str
    every: int
    settings: dict[str, Any]


FINAL = {
    "length50": Final(
        "ours, length 50", 1, {**BASE, "positions": "relative", "windows": "all", "parts": 2, "epochs": 32}
    ),
    "best": Final(
        "ours, best",
        4,
        {
            **BASE,
            "embedding_dim": 128,
            "num_heads": 2,
            "dropout": 0.2,
            "positions": "relative",
            "windows": "all",
            "max_length": 200,
            "batch_tokens": 3_200,
            "epochs": 16,
        },
    ),
}
