"""Tuned settings of the factor baselines that the demo uses, with where they come from."""

from __future__ import annotations

from recsys.evaluation.baselines.als import AlsSettings
from recsys.evaluation.baselines.bpr import BprSettings

ALS = AlsSettings()
BPR = BprSettings()
