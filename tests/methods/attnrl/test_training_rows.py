"""From scored initial responses and continuations to the rows that are trained, and the metrics of the step."""

import pytest
import torch

from verl_softthink.methods.attnrl.fields import ABORTED, ADVANTAGE, NODE, PREFIX_IDS, PREFIX_LOG_PROBS, ROOT, VALUE
from verl_softthink.methods.attnrl.metrics import tree_metrics
from verl_softthink.methods.attnrl.plan import Branch, ScoredResponse
from verl_softthink.methods.attnrl.samples import PromptSamples, Sample
from verl_softthink.methods.attnrl.steps import Steps
from verl_softthink.methods.attnrl.training_rows import rows_without_signal, stitched, training_rows
from verl_softthink.methods.attnrl.tree import has_signal

PROMPT = [7, 8]


def sample(ids, reward, step=4, **extra):
    ids = torch.tensor(ids)
    scores = torch.zeros(len(ids))
    scores[-1] = reward
    whole = torch.cat([torch.tensor(PROMPT), ids])
    row = {
        "prompts": torch.tensor(PROMPT),
        "responses": ids,
        "response_mask": torch.ones_like(ids),
        "loss_mask": torch.ones_like(ids),
        "input_ids": whole,
        "position_ids": torch.arange(len(whole)),
        "rm_scores": scores,
        "rollout_log_probs": -ids / 10,
        "uid": "q",
        "reward_model": {"ground_truth": "5"},
        "data_source": "s",
        "extra_fields": extra,
        "num_turns": 2,
    }
    tag = {"prompt_len": 2, "response_len": len(ids), "seq_len": len(whole)}
    return Sample(row, tag | {"min_global_steps": step, "max_global_steps": step})


def prompt(*continuations):
    """The worked example of the method: a right response of 9 tokens, cut at 3 and 6, and a wrong one of 7."""
    initial = [sample([*range(10, 19)], 1.0), sample([*range(20, 27)], 0.0)]
    scored = [
        ScoredResponse(Steps((3, 3, 3)), torch.tensor([0.0, 0.3, 0.6]), True),
        ScoredResponse(Steps((7,)), torch.zeros(1), False),
    ]
    log_probs = [torch.full((9,), -1.0), torch.full((7,), -2.0)]
    branches = [Branch(0, 3), Branch(0, 3), Branch(0, 6), Branch(0, 6)]
    return PromptSamples("q", 0, initial, scored, log_probs, branches, list(continuations))


FOUR = (
    sample([10, 11, 12, 31, 32], 1.0, step=5, num_cached_tokens=4),
    sample([10, 11, 12, 33], 0.0, step=5),
    sample([*range(10, 16), 34], 1.0, step=5),
    sample([*range(10, 16), 35, 36], 1.0, step=5),
)


def test_rows_of_the_worked_example():
    samples = prompt(*FOUR)
    tree = samples.tree()
    rows = training_rows(samples, tree)
    assert [row.key for row in rows] == [f"q_{number}_0" for number in range(5)]
    assert [row.fields["responses"].tolist() for row in rows[1:]] == [c.row["responses"].tolist() for c in FOUR]
    assert [float(row.fields["rm_scores"].sum()) for row in rows] == [1, 1, 0, 1, 1]
    assert [row.fields["input_ids"].tolist() for row in rows[1:2]] == [[7, 8, 10, 11, 12, 31, 32]]
    # What the earlier policy scored: all of the response itself, and of a continuation its prefix.
    assert [row.earlier.tolist() for row in rows] == [[-1.0] * n for n in (9, 3, 3, 6, 6)]
    assert [row.tag["min_global_steps"] for row in rows] == [4] * 5
    assert [row.tag["max_global_steps"] for row in rows] == [4, 5, 5, 5, 5]
    assert rows[2].fields[ADVANTAGE].tolist() == pytest.approx([0.1193] * 3 + [-1.4667], abs=1e-4)
    assert rows[0].fields[ADVANTAGE].tolist() == pytest.approx([0.1193] * 3 + [0.3079] * 3 + [0.3333] * 3, abs=1e-4)
    assert rows[0].fields[VALUE].tolist() == pytest.approx([0.8] * 3 + [1.0] * 6)
    nodes = [row.fields[NODE].tolist() for row in rows]
    assert nodes[0][:3] == nodes[1][:3] == nodes[2][:3] and nodes[0][:6] == nodes[3][:6] == nodes[4][:6]
    assert len({node for of_row in nodes for node in of_row}) == 7
    assert all(row.fields[ROOT].tolist() == pytest.approx([4 / 6, 6, 1]) for row in rows)
    assert all(row.fields.keys() == rows[0].fields.keys() for row in rows)


def test_aborted_continuations_are_counted_and_do_not_shift_the_others():
    cut_short = sample([10, 11, 12], 0.0, **{ABORTED: "aborted, without a token"})
    samples = prompt(cut_short, *FOUR[1:])
    assert samples.aborted() == ["aborted, without a token"]
    rows = training_rows(samples, samples.tree())
    assert [row.fields["responses"].tolist() for row in rows[1:]] == [c.row["responses"].tolist() for c in FOUR[1:]]
    assert rows[1].fields[ROOT].tolist() == pytest.approx([3 / 5, 5, 1])


def test_requests_carry_the_prefix_and_what_is_known_of_it():
    request = prompt().request(0, None)
    assert request[PREFIX_IDS] == [10, 11, 12] and request[PREFIX_LOG_PROBS] == pytest.approx([-1.0, -1.1, -1.2])


def test_old_log_probs_are_of_two_policies():
    assert stitched(torch.tensor([1.0, 2.0, 3.0]), torch.tensor([9.0])).tolist() == [9.0, 2.0, 3.0]


def test_a_step_without_signal_has_rows_with_zero_advantages():
    rows = rows_without_signal(prompt())
    assert [len(row.fields["responses"]) for row in rows] == [9, 7]
    assert not any(row.fields[ADVANTAGE].any() for row in rows)
    assert rows[0].fields.keys() == training_rows(prompt(*FOUR), prompt(*FOUR).tree())[0].fields.keys()


def test_rewards_that_are_no_verdict_are_refused():
    with pytest.raises(ValueError, match="a response has reward 0.5, and the values of a tree are shares"):
        _ = sample([1, 2], 0.5).reward


def test_metrics_by_hand():
    samples, other = prompt(*FOUR), prompt()
    other = PromptSamples("p", 1, [other.samples[1]] * 2, [other.scored[1]] * 2, [other.log_probs[1]] * 2, [])
    trees = [samples.tree(), other.tree()]
    assert [has_signal(tree) for tree in trees] == [True, False]
    metrics = {
        name.removeprefix("softthink/attnrl/"): v for name, v in tree_metrics([samples, other], trees, [5, 0]).items()
    }
    assert metrics["prompts"] == 2 and metrics["useful_prompts"] == 0.5 == metrics["useful_prompts/initial"]
    assert metrics["value/mean"] == pytest.approx((4 / 6 + 0) / 2) and metrics["value/initial"] == 0.25
    assert metrics["leaves/mean"] == 4.0 and metrics["branched_responses"] == 0.25
    assert metrics["branch_points/mean"] == 2.0 and metrics["trained_responses"] == 5
    # Initial 9, 7, 7, 7; continuations 2, 1, 1, 2.
    assert metrics["tokens/generated"] == 30 + 6 and metrics["tokens/reused"] == 3 + 3 + 6 + 6
    assert metrics["tokens/cached"] == 4
    assert metrics["tokens/trained"] == 9 + 5 + 4 + 7 + 8 and metrics["tokens/distinct"] == 9 + 6
    assert metrics["influence/mean"] == pytest.approx((0.9 / 4 + 0) / 2)
    assert metrics["aborted"] == metrics["dropped/attention"] == metrics["dropped/no_signal"] == 0
