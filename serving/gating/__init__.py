"""The stages of the release gate, one module each; serving/gate.py runs them in order."""
