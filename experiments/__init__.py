"""Controlled experiments: who is in which arm, by hashing alone; nothing is stored and nothing is random.

assign(load(path), user_id)
"""

from experiments.config import Config, assign, load

__all__ = ["Config", "assign", "load"]
