"""The creators' side of a home: who was shown, what floors gave, and both sides of an experiment or a loop."""
