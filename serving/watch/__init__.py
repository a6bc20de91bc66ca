"""How a running server is watched: drift, freshness, traces, logs, live figures (docs/operations.md)."""

from serving.watch.facts import arrival as arrival
from serving.watch.facts import part as part
from serving.watch.freshness import Freshness as Freshness
