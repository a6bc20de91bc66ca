"""Learned policies of the home feed: what they look at, what they have learned, and how they learn from the log."""
