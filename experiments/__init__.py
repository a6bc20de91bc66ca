"""Controlled experiments: who is in which arm, by hashing alone; nothing is stored and nothing is random.

from experiments.assign import assign
from experiments.config import load
"""
