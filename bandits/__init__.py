"""Exploration: slot policies that state exact propensities, and the test that they draw as they state."""
