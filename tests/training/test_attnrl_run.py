"""Two steps of soft tree branching through verl's own entry point, one step off policy, shared prefixes computed once.

Everything is recomputed from the rollout dump: log-densities with the checkpoint, the tree from the rows' tokens and
mixtures, advantages by an oracle that knows the leaves alone. Trees of ordinary tokens differ in the rollout, whose
branches are in tests/methods/attnrl.
"""

from pathlib import Path

import pytest
import torch
from oracles.tree_values import advantages as oracle
from support.runs import run_recipe, small_batch

from training.recomputed import action_and_parameters, logits_and_densities
from verl_softthink.dump import dump_path, read_dump
from verl_softthink.laws import LAWS, candidate_log_probs
from verl_softthink.methods.attnrl.fields import ADVANTAGE, NODE, ROOT, VALUE

pytestmark = pytest.mark.verl

PREFIX = "softthink/attnrl/"
#: fp32 through two implementations of the same model.
GAP = 1e-3


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """The first step trains on trees of the checkpoint alone; tests/methods/attnrl/test_stage.py has steps in turn."""
    return run_recipe(
        "attnrl/run_pocket_cpu.sh",
        tmp_path_factory.mktemp("attnrl"),
        *small_batch(prompts=4, responses=4, micro_batch=8),
        "actor_rollout_ref.actor.ppo_mini_batch_size=2",
        *("softthink.attnrl.wanted_responses=40", "softthink.attnrl.largest_batch=6"),
        *("softthink.attnrl.off_policy=1", "softthink.attnrl.shared_prefix=dedup"),
        *("trainer.val_before_train=False", "trainer.test_freq=-1", "trainer.save_freq=-1"),
        "trainer.total_training_steps=2",
        METHOD="soft_attnrl",
    )


@pytest.fixture(scope="module")
def log_densities(run):
    """Of a dumped response under the checkpoint that training began with."""
    from transformers import AutoModelForCausalLM

    from verl_softthink.pocket import OVERTHINKING, checkpoint_path

    model = AutoModelForCausalLM.from_pretrained(checkpoint_path(OVERTHINKING), dtype=torch.float32).eval()
    _, settings = read_dump(dump_path(run.out / "rollouts", 1))
    law = LAWS[settings["name"]]

    @torch.no_grad()
    def score(response):
        ids, trace = response.response_ids.long(), response.trace
        logits, density = logits_and_densities(model, response, settings)
        action, parameters = action_and_parameters(trace, settings)
        scores = candidate_log_probs(logits, action.ids, normalise_over="candidates")
        slot = (action.ids == ids[:, None]).int().argmax(-1)
        tokens = logits.log_softmax(-1).gather(-1, ids[:, None])[:, 0]
        # The draw that completed the marker was fed as its token.
        tokens = torch.where(trace.drawn, law.token_log_prob(action, slot, scores, parameters), tokens)
        return torch.where(trace.soft, density, tokens)

    return score


def _prompts(out: Path, step: int) -> list[list]:
    """The rows of every prompt, in the order of their names."""
    responses, _ = read_dump(dump_path(out / "rollouts", step))
    groups: dict[str, list] = {}
    for response in sorted(responses, key=lambda item: (item.key.split("_")[0], int(item.key.split("_")[1]))):
        groups.setdefault(response.key.split("_")[0], []).append(response)
    return list(groups.values())


def _own_tokens(rows: list) -> list[int]:
    """Of each row, how many tokens at its end no earlier row has: all of an initial response, or the continuation."""
    seen: set[float] = set()
    counts = []
    for row in rows:
        nodes = row.extra[NODE].tolist()
        counts.append(sum(node not in seen for node in nodes))
        seen.update(nodes)
    return counts


def test_metrics_of_every_step(run):
    out = run.out
    assert sorted(run.metrics) == [1, 2]
    for step, data in run.metrics.items():
        of = {name.removeprefix(PREFIX): value for name, value in data.items() if name.startswith(PREFIX)}
        rows = [row for prompt in _prompts(out, step) for row in prompt]
        assert data["actor/grad_norm"] > 0 and of["aborted"] == 0
        assert of["trained_responses"] == len(rows) and 0 < of["useful_prompts"] <= 1
        assert of["tokens/trained"] == sum(len(row.response_ids) for row in rows)
        own = sum(count for prompt in _prompts(out, step) for count in _own_tokens(prompt))
        assert of["tokens/distinct"] == own < of["tokens/trained"] and own <= of["tokens/generated"]
        # Every position, the prefixes of continuations included, by the policy that rolled it out.
        assert data["softthink/log_prob_gap/mean"] < GAP and data["softthink/log_prob_gap/drawn/mean"] < GAP
        assert data["softthink/soft_fraction"] > 0.5
        # What the actor learns from are the tree's advantages, not those of verl's estimator.
        found = torch.cat([row.extra[ADVANTAGE] for row in rows])
        assert data["critic/advantages/max"] == pytest.approx(float(found.max()), abs=1e-5)
        assert data["critic/advantages/min"] == pytest.approx(float(found.min()), abs=1e-5)


def test_rows_are_trees_with_the_advantages_of_their_leaves(run):
    branched = shared = 0
    for rows in _prompts(run.out, 1):
        # Positions that share a node are the same tokens at the same place, and were fed the same.
        at: dict[tuple, tuple] = {}
        for row in rows:
            trace = row.trace
            fed = [tuple(part.tolist()) for part in torch.cat([trace.ids, trace.values.view(torch.int32)], dim=-1)]
            positions = zip(row.extra[NODE].tolist(), row.response_ids.tolist(), trace.soft.tolist(), fed, strict=True)
            for place, (node, *position) in enumerate(positions):
                shared += (node, place) in at and position[1]
                assert at.setdefault((node, place), position) == position
        root, everyone, apart = rows[0].extra[ROOT].tolist()
        assert everyone == len(rows) + apart
        right = round(root * everyone) - sum(row.reward for row in rows)
        counted = [((-1 - place,), float(place < right)) for place in range(round(apart))]
        leaves = [(tuple(enumerate(row.extra[NODE].tolist())), row.reward) for row in rows]
        for row, wanted in zip(rows, oracle(leaves, counted), strict=True):
            torch.testing.assert_close(row.extra[ADVANTAGE], torch.tensor(wanted), rtol=0, atol=1e-5)
        assert all(row.extra[VALUE][-1] == row.reward for row in rows)
        branched += len(set(_own_tokens(rows))) > 1
    assert branched and shared > 20


def test_one_step_off_policy_keeps_the_log_probs_of_both_policies(run, log_densities):
    """In the second step initial responses are the checkpoint's, and continuations the updated actor's."""
    out, metrics = run.out, run.metrics
    assert metrics[1][f"{PREFIX}log_prob_lag"] < 1e-5 and metrics[2][f"{PREFIX}log_prob_lag"] > 1e-5
    for step in (1, 2):
        moved = []
        for rows in _prompts(out, step):
            for row, own in zip(rows, _own_tokens(rows), strict=True):
                difference = (row.trace.log_prob - log_densities(row)).abs()
                difference = difference.where(~row.trace.forced, 0.0)
                initial = own == len(row.response_ids)
                assert difference[: None if initial else -own].max() < GAP
                if not initial:
                    moved.append(float(difference[-own:].max()))
        assert (max(moved) > GAP) == (step == 2)
