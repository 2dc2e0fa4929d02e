"""Metrics of soft rollouts against their definitions."""

import math

import pytest
import torch
from tensordict import NonTensorStack, TensorDict

from verl_softthink.config.settings import LawSettings
from verl_softthink.laws import LAWS, Action, Candidates
from verl_softthink.report.metric_doc import PREFIX
from verl_softthink.training.metrics import grader_failures, noise_metrics, soft_metrics

LAW = LawSettings(name="gumbel", tau=0.5, noise_scale=2.0)


def jagged(rows):
    return torch.nested.as_nested_tensor([torch.as_tensor(row) for row in rows], layout=torch.jagged)


def batch() -> TensorDict:
    """Two responses: soft, soft, marker, answer; and soft, forced."""
    soft = [[True, True, False, False], [True, False]]
    drawn = [[True, True, True, False], [True, False]]
    forced = [[False] * 4, [False, True]]
    mask = [[1, 1, 1, 1], [1, 0]]
    ids = [[[5, 6], [7, -1], [8, 9], [-1, -1]], [[6, 5], [-1, -1]]]
    values = [[[1.0, 2.0], [0.5, 0.0], [0.0, 0.0], [0.0, 0.0]], [[3.0, 0.0], [0.0, 0.0]]]
    rollout = [[-1.0, -2.0, -0.5, -0.25], [-3.0, 0.0]]
    old = [[-1.5, -2.0, -0.5, -0.5], [-2.0, 9.0]]
    reasons = [
        {"softthink_end_reason": reason, "softthink_discrete_positions": discrete, "softthink_answer_cut": cut}
        for reason, discrete, cut in (("marker", 1, True), ("budget", 0, False))
    ]
    tensors = {
        "softthink_soft": soft,
        "softthink_drawn": drawn,
        "softthink_forced": forced,
        "response_mask": mask,
        "softthink_ids": ids,
        "softthink_values": values,
        "rollout_log_probs": rollout,
        "old_log_probs": old,
    }
    data = TensorDict({name: jagged(rows) for name, rows in tensors.items()}, batch_size=[2])
    data["extra_fields"] = NonTensorStack(*reasons)
    return data


def test_grader_failures_are_counted_where_the_reward_reports_them():
    rows = [{"reward_extra_info": {"acc": 0.0, "grader_failure": failure}} for failure in (1.0, 0.0, 1.0)]
    assert grader_failures([*NonTensorStack(*rows)]) == {"softthink/grader_failures": 2.0}
    assert grader_failures(rows[1:2]) == {"softthink/grader_failures": 0.0}
    assert grader_failures([{"reward_extra_info": {"acc": 1.0}}, {}]) == {}


@pytest.fixture(scope="module")
def metrics() -> dict[str, float]:
    return {name.removeprefix(PREFIX): value for name, value in soft_metrics(batch(), LAW).items()}


def test_by_hand(metrics):
    assert metrics["soft_fraction"] == pytest.approx(3 / 6) and metrics["forced_fraction"] == pytest.approx(1 / 6)
    assert (metrics["thinking_length/mean"], metrics["thinking_length/max"]) == (2.0, 3.0)
    assert metrics["answer_length/mean"] == 1.0
    assert metrics["answer_cut_fraction"] == 0.5 and metrics["discrete_fraction"] == pytest.approx(1 / 6)
    # One response has four positions, three drawn and one discrete; the other one drawn and one forced.
    assert metrics["no_answer_fraction"] == 1.0
    assert (metrics["end_reason/marker"], metrics["end_reason/budget"], metrics["end_reason/none"]) == (0.5, 0.5, 0.0)
    # Weights softmax(g' / tau): gaps of 1 and 3 nats over tau 0.5, and one candidate alone.
    tops = [1 / (1 + math.exp(-2)), 1.0, 1 / (1 + math.exp(-6))]
    assert metrics["top_weight/mean"] == pytest.approx(sum(tops) / 3)
    effective = [1 / (p * p + (1 - p) ** 2) for p in tops]
    assert metrics["effective_tokens/mean"] == pytest.approx(sum(effective) / 3)
    entropy = [-sum(q * math.log(q) for q in (p, 1 - p) if q > 0) for p in tops]
    assert metrics["mixture_entropy/mean"] == pytest.approx(sum(entropy) / 3, abs=1e-6)
    assert metrics["single_candidate_fraction"] == pytest.approx(1 / 3)
    # |old - rollout| in the loss: 0.5, 0, 0, 0.25 and 1; the forced position is not in it.
    assert metrics["log_prob_gap/mean"] == pytest.approx(1.75 / 5) and metrics["log_prob_gap/max"] == 1.0
    assert metrics["log_prob_gap/drawn/mean"] == pytest.approx(1.5 / 4)
    assert metrics["log_prob_gap/answer/mean"] == pytest.approx(0.25)
    assert metrics["log_ratio_std"] == pytest.approx(torch.tensor([-0.5, 0.0, 0.0, -0.25, 1.0]).std().item())
    assert metrics["log_ratio_std/drawn"] == pytest.approx(torch.tensor([-0.5, 0.0, 0.0, 1.0]).std().item())
    # Two positions with two candidates: g'_0 - g'_1 is -1 and 3; in the first of three the second candidate wins.
    assert metrics["logit_gap/mean"] == pytest.approx(1.0) and metrics["noise_wins"] == pytest.approx(1 / 3)
    assert metrics["noise_to_logit_gap"] == pytest.approx(2.0 * math.pi / math.sqrt(3))


def test_equal_draws_are_one_token():
    """The batch's ids as draws of multiplex: two tokens, one drawn alone, and one drawn twice."""
    data = batch()
    data["softthink_ids"] = jagged([[[5, 6], [7, -1], [8, 9], [-1, -1]], [[6, 6], [-1, -1]]])
    data["softthink_values"] = jagged([[[0.0, 0.0]] * 4, [[0.0, 0.0]] * 2])
    metrics = soft_metrics(data, LawSettings(name="multiplex"))
    assert metrics["softthink/effective_tokens/mean"] == pytest.approx((2 + 1 + 1) / 3)
    assert metrics["softthink/mixture_entropy/mean"] == pytest.approx(math.log(2) / 3)
    assert metrics["softthink/top_weight/mean"] == pytest.approx((0.5 + 1 + 1) / 3)
    assert metrics["softthink/single_candidate_fraction"] == pytest.approx(2 / 3)


@pytest.mark.parametrize("name", ["gumbel", "concrete"])
def test_noise_metrics_estimate_what_the_trace_does_not_hold(name):
    """Many draws of the law at known logits: the gap, and the probability that noise decides."""
    rows, scale = 200_000, 0.7
    logits = torch.tensor([1.0, 0.2, -0.5]).log_softmax(-1)
    ids = torch.tensor([3, 4, 5]).expand(rows, -1)
    generator = torch.Generator().manual_seed(0)
    noise = -(-torch.rand(rows, 3, generator=generator).log()).log()
    parameters = LAWS[name].columns(rows, tau=0.1, noise_scale=scale)
    action = LAWS[name].sample(Candidates(ids=ids, log_probs=logits.expand(rows, -1)), parameters, noise)
    metrics = noise_metrics(action, LawSettings(name=name, noise_scale=scale))
    # Standard error of the gap: 0.7 * 1.81 / sqrt(200000) = 0.003.
    assert metrics["softthink/logit_gap/mean"] == pytest.approx(0.8, abs=0.012)
    assert metrics["softthink/noise_to_logit_gap"] == pytest.approx(scale * 1.8138 / 0.8, rel=0.02)
    decided = 1 - float((logits / scale).softmax(-1)[0])
    assert metrics["softthink/noise_wins"] == pytest.approx(decided, abs=0.005)


def test_laws_without_perturbed_scores_have_no_noise_metrics():
    action = Action(ids=torch.tensor([[1, 2]]), values=torch.tensor([[0.5, 0.2]]))
    assert noise_metrics(action, LawSettings(name="deterministic")) == {}
