"""Re-ranking inside the Selector: diversity, calibration to one's own mix of genres, floors for new and rare tracks.

Each is a `recsys.slate.ListEffect` or `Quota` of one request: it follows what was really placed, drawn at random or
not, and speaks before the draw, so propensities stay exact. Nothing here knows where vectors or genres come from.
"""
