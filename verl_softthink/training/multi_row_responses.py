"""Responses that an agent loop returns as several rows: our group-relative estimators see each response once.

verl's trainer does this for its own ``grpo`` alone (``compute_advantage_for_multi_trajectories``); under any other
estimator a response of three rows would count three times in its group. The last row of a response carries its reward,
so the estimator gets these rows only, and every row of the response gets what it says of the last one.
"""

import functools
from types import ModuleType

import torch

from verl_softthink.methods import registry


def last_rows(keys: list[str]) -> tuple[list[int], list[int]]:
    """The last row of every response, and for every row the position of its response in that list.

    Args:
        keys: verl's names of rows, ``<question>_<response>_<row>``.
    """
    last: dict[str, int] = {}
    responses = []
    for row, key in enumerate(keys):
        response, _, number = key.rpartition("_")
        responses.append(response)
        if response not in last or int(keys[last[response]].rpartition("_")[2]) < int(number):
            last[response] = row
    position = {response: place for place, response in enumerate(last)}
    return list(last.values()), [position[response] for response in responses]


def register(utils: ModuleType) -> None:
    """``verl.trainer.ppo.v1.utils``: extend the handling of several rows to our estimators."""
    compute = utils.compute_advantage_for_multi_trajectories
    ours = {name for method in registry.usable() for name in method.outcome_estimators}

    @functools.wraps(compute)
    def compute_once_a_response(data, batch_keys, adv_estimator, **settings):
        if adv_estimator not in ours:
            return compute(data, batch_keys, adv_estimator, **settings)
        rows, response = last_rows(batch_keys)
        final = compute(data.select_idxs(rows), [batch_keys[row] for row in rows], adv_estimator, **settings)
        first_token = final.batch["response_mask"].argmax(dim=1)
        scores = final.batch["advantages"][torch.arange(len(rows)), first_token]
        data.batch["advantages"] = scores[response][:, None] * data.batch["response_mask"]
        data.batch["returns"] = data.batch["advantages"]
        return data

    utils.compute_advantage_for_multi_trajectories = compute_once_a_response
