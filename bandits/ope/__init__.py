"""Off-policy evaluation: from logged decisions with propensities to the value of another policy, or to a refusal.

from bandits.ope.evaluate import evaluate
from bandits.ope.frame import Target

print(evaluate(frame, Target("greedier", probability)).table())
"""
