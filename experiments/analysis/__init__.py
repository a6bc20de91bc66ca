"""What an experiment did: from a frame of (unit, arm, day, columns) to effects with intervals that hold.

analysis = analyse(frame, design)         # experiments.analysis.analyse; design: experiments.analysis.design.Design
analysis.to_json()
Which estimator, with which assumptions and sources: docs/statistics.md.
"""
