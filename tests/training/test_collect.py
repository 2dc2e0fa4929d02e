"""From a batch's jagged fields to the responses of a dump."""

import pytest
import torch
from tensordict import NonTensorStack, TensorDict

from training.test_metrics import jagged
from verl_softthink.likelihood.fields import DRAWN, IDS, SOFT, VALUES
from verl_softthink.report.entropy_profile import ENTROPY
from verl_softthink.rollout.fields import DISCRETE, END_REASON, FORCED
from verl_softthink.rollout.fields import ENTROPY as RECORDED_ENTROPY
from verl_softthink.training import collect

KEYS = ["a_0_0", "a_1_0"]
LENGTHS = (3, 2)
RECORDED = [[0.5, float("nan"), 0.25], [float("nan")] * 2]
SCORED = [[1.0, 2.0, 3.0], [4.0, 5.0]]


def per_position(value: float, dtype=torch.float32) -> torch.Tensor:
    return jagged([torch.full((length,), value, dtype=dtype) for length in LENGTHS])


def batch(names: list[str]) -> TensorDict:
    """Two responses of three and two positions, all of them soft; the fields of that name."""
    flags = {name: per_position(name not in (FORCED, DISCRETE), torch.bool) for name in (SOFT, DRAWN, FORCED, DISCRETE)}
    columns = flags | {
        "prompts": jagged([[7, 8], [9]]),
        "responses": jagged([[1, 2, 3], [4, 5]]),
        "rm_scores": jagged([[0.0, 0.0, 1.0], [0.0, 0.0]]),
        "old_log_probs": per_position(-1.0),
        "rollout_log_probs": per_position(-2.0),
        IDS: jagged([torch.ones(length, 2, dtype=torch.int32) for length in LENGTHS]),
        VALUES: jagged([torch.zeros(length, 2) for length in LENGTHS]),
        RECORDED_ENTROPY: jagged(RECORDED),
        ENTROPY: jagged(SCORED),
        "softthink_extra": per_position(0.5),
        "reward_model": NonTensorStack({"ground_truth": 4}, {}),
        "extra_fields": NonTensorStack(*({END_REASON: "marker"} for _ in LENGTHS)),
    }
    return TensorDict({name: columns[name] for name in names}, batch_size=[2])


def test_soft_responses():
    names = collect.field_names(soft=True, scored=True, extra=("softthink_extra", ENTROPY))
    assert len(names) == len(set(names))
    first, second = collect.responses(KEYS, batch(names), extra=("softthink_extra",))
    assert (first.key, first.reward, first.answer, second.answer) == ("a_0_0", 1.0, "4", None)
    assert first.response_ids.tolist() == [1, 2, 3] and second.prompt_ids.tolist() == [9]
    assert first.trace.soft.all() and not first.trace.forced.any() and first.trace.end_reason == "marker"
    assert first.trace.log_prob.tolist() == [-2.0] * 3 and first.extra["softthink_extra"].tolist() == [0.5] * 3
    # What the rollout did not record comes from the pass over the old policy.
    assert first.trace.entropy.tolist() == [0.5, 2.0, 0.25] and second.trace.entropy.tolist() == [4.0, 5.0]


@pytest.mark.parametrize("scored", [True, False])
def test_discrete_responses(scored):
    names = collect.field_names(soft=False, scored=scored, extra=())
    first, second = collect.responses(KEYS, batch(names), extra=())
    assert not first.trace.drawn.any() and first.trace.log_prob.tolist() == [-1.0] * 3
    if scored:
        assert (first.trace.entropy.tolist(), second.trace.entropy.tolist()) == tuple(SCORED)
    else:
        assert first.trace.entropy.isnan().all()
