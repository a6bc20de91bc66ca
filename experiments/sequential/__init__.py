"""Looking at an experiment while it runs, without fooling oneself: sequential tests, sample-ratio checks, power.

from experiments.sequential.rule import AlwaysValid, GroupSequential  # rules that a config can name
from experiments.sequential.sample_ratio import check                 # did the arms get the shares they should
from experiments.sequential.power import Plan                         # sample size, detectable effect, duration

docs/sequential.md says which method to use when, with sources and assumptions.
"""
