"""Features -> one calibrated LightGBM per objective -> one declared utility (docs/ranking.md)."""
