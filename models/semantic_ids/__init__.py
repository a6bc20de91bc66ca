"""Semantic ids: `train(dataset, until_ms, SemanticConfig())`, `SemanticIds.load(folder, items)`."""

from models.semantic_ids.config import SemanticConfig
from models.semantic_ids.model import SemanticIds

__all__ = ["SemanticConfig", "SemanticIds"]
