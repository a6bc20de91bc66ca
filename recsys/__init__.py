"""The shared core: domain types, the candidate pipeline, the lake, features, simulation, evaluation."""
