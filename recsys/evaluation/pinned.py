"""Tuned settings of the factor baselines that the demo uses, with where they come from.

ALS: best Recall@100 on `home` in the validation window of the demo world (seed 0, world version 1), by
`python -m benchmarks.tune_als`; every point tried is in benchmarks/results/tune_als.json.
"""

from __future__ import annotations

from recsys.evaluation.baselines.als import AlsSettings
from recsys.evaluation.baselines.bpr import BprSettings

ALS = AlsSettings(embedding_dim=256, regularization=3.0, alpha=16.0, half_life_days=3.5)
BPR = BprSettings()
