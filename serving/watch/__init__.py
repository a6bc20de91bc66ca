"""How a running server is watched: drift, freshness, traces, logs, live figures (docs/operations.md)."""
