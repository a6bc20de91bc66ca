"""Why a track is shown: claims that were tested (counterfactual.py, worker.py), and plain statements (plain.py)."""
