"""Two-tower retrieval: `train(dataset, until_ms, TwoTowerConfig())`, `TwoTower.load(folder, items)`."""

from models.two_tower.config import TwoTowerConfig
from models.two_tower.model import TwoTower

__all__ = ["TwoTower", "TwoTowerConfig"]
