"""GrowthBook's features and experiments as its SDKs evaluate them, from a payload of its API.

from experiments.growthbook.context import Context
from experiments.growthbook.features import evaluate
evaluate(Context(attributes={"id": "1"}, features=payload["features"]), "new-home").value
"""
