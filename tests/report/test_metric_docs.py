"""Every metric that the code emits has a row of documentation, and every row a metric that is emitted."""

import fnmatch

import pytest
import torch
from support.written_metrics import written_names
from tensordict import NonTensorStack, TensorDict
from training.test_metrics import LAW, batch, jagged
from training.test_version_metrics import batch as versions
from transformers import AutoTokenizer
from typer.testing import CliRunner

from verl_softthink.cli import app
from verl_softthink.data.guarded_reward import FAILURE
from verl_softthink.methods.attnrl import metrics as branching
from verl_softthink.methods.entropy_profile.metrics import profile_metrics
from verl_softthink.methods.repro import metrics as repro
from verl_softthink.methods.repro.rewards import process_rewards
from verl_softthink.methods.repro.settings import ReproSettings
from verl_softthink.methods.thought_anchor.metrics import KL
from verl_softthink.methods.variational import metrics as variational
from verl_softthink.methods.variational.fields import FROM_MODEL, HINT_TEXT
from verl_softthink.methods.variational.weighting import ScoredThoughts, weight_metrics
from verl_softthink.pocket import checkpoint_path
from verl_softthink.report.metric_doc import PREFIX
from verl_softthink.training.metric_docs import documentation, metrics
from verl_softthink.training.metrics import RENAMED, grader_failures, soft_metrics
from verl_softthink.training.version_metrics import version_metrics


def repro_metrics() -> dict[str, float]:
    """One response of two pieces, that rise by 1 and fall by 2 nats, and one without an answer."""
    cuts = [torch.tensor([0, 3, 5]), torch.tensor([0])]
    surrogate = [torch.tensor([-4.0, -3.0, -5.0]), torch.tensor([0.0])]
    results = process_rewards(cuts, surrogate, ReproSettings(stability_weight=0.0, from_prompt=True))
    advantage = torch.tensor([[0.0, 0.0, 0.5, 0.0, -1.5], [0.0] * 5])
    mask = torch.tensor([[1] * 5, [1] * 3 + [0] * 2])
    backtracks = torch.tensor([False, True])
    return {
        **repro.reward_metrics(results, advantage, mask, torch.tensor([0.5, 0.25])),
        **repro.text_metrics([5, 2], [torch.tensor([0, 1, 1]), torch.tensor([0])], backtracks),
    }


def test_repro_metrics_by_hand():
    values = {name.removeprefix(repro.PREFIX): value for name, value in repro_metrics().items()}
    assert values["scored"] == 0.5 and values["pieces/mean"] == 2 and values["negative_share"] == 0.5
    assert (values["surrogate/prompt"], values["surrogate/end"], values["surrogate/rise"]) == (-4, -5, -1)
    scores = 1 - torch.tensor([1.0, 0.75, 1.25]).tanh()
    assert values["magnitude"] == pytest.approx(float(scores[2]))
    assert values["reward/std"] == pytest.approx(float(scores.diff().std()))
    # One rising pair of three, over the last of three points.
    assert values["stability"] == pytest.approx((1 - 1 / 3) / 2)
    assert values["advantage/abs_mean"] == pytest.approx(2 / 8) and values["scoring_seconds"] == 0.75
    assert (values["thinking_length/mean"], values["segments/mean"], values["backtracking_share"]) == (3.5, 2, 0.5)


def variational_metrics() -> dict[str, float]:
    """Two thoughts of one question, one of each proposal, in both kinds of step."""
    tokenizer = AutoTokenizer.from_pretrained(checkpoint_path())
    texts, hint = ["7+8=5", "5"], "7+8=5"
    ids = [torch.tensor(tokenizer.encode(text, add_special_tokens=False)) for text in texts]
    rollout = [torch.full((len(row),), -1.0) for row in ids]
    data = TensorDict({"responses": jagged(ids), "rollout_log_probs": jagged(rollout)}, batch_size=[2])
    data["extra_fields"] = NonTensorStack(*({FROM_MODEL: mine, HINT_TEXT: hint} for mine in (False, True)))
    data["reward_model"] = NonTensorStack(*({"ground_truth": "5"} for _ in texts))
    padded = data["rollout_log_probs"].to_padded_tensor(0)
    thought = torch.tensor([[True] * 5, [True] + [False] * 4])
    thoughts = ScoredThoughts(
        model=padded,
        posterior=padded - 0.25,
        thought=thought,
        answer=~thought,
        rewards=torch.tensor([1.0, 0.0]),
        group=torch.tensor([0, 0]),
    )
    weights = weight_metrics(torch.tensor([0.75, 0.25]), thoughts.group)
    found = weights | variational.rollout_metrics(data, thoughts, tokenizer)
    return variational.named(found, posterior_step=False) | variational.named(found, posterior_step=True)


def test_variational_metrics_by_hand():
    metrics = variational_metrics()
    for prefix in (variational.PREFIX, f"{variational.PREFIX}posterior_step/"):
        values = {name.removeprefix(prefix): value for name, value in metrics.items()}
        assert values["effective_sample_size/mean"] == pytest.approx(1 / 0.625)
        assert values["largest_weight/mean"] == 0.75 and values["dropped_groups"] == 0
        # Five of six tokens are the posterior's, whose log-probs differ by a quarter.
        assert values["proposal_log_prob_gap"] == pytest.approx(0.25 * 5 / 6)
        assert (values["accuracy/posterior"], values["accuracy/model"]) == (1, 0)
        assert (values["leakage/copied_fraction/posterior"], values["leakage/copied_fraction/model"]) == (1, 0)
        assert values["leakage/answer_position/posterior"] == pytest.approx(4 / 5)
        assert values["leakage/answer_position/model"] == 0


@pytest.fixture(scope="module")
def emitted() -> set[str]:
    """Full names, by running every function that makes metrics on data that reaches all of its branches."""
    profile = profile_metrics(torch.ones(2), torch.ones(2, dtype=torch.int64), [0])
    trees = (*branching.tree_metrics([], [], []), branching.LOG_PROB_LAG)
    failures = grader_failures([{"reward_extra_info": {FAILURE: 0.0}}])
    soft = (*soft_metrics(batch(), LAW), *RENAMED.values(), *profile, *failures, *version_metrics(versions(), step=4))
    return {*soft, *repro_metrics(), *variational_metrics(), *trees, KL}


def test_every_metric_is_documented_and_every_row_emitted(emitted):
    assert [name for name in sorted(emitted) if documentation(name) is None] == []
    used = {documentation(name).name for name in emitted}
    assert [row.name for row in metrics() if row.name not in used] == []
    assert documentation("softthink/no_such_metric") is None
    assert all(row.meaning and row.healthy and row.otherwise for row in metrics())


def test_no_metric_of_the_source_is_missing_above(emitted):
    """A metric or a method that is added anywhere must be added to ``emitted``, and so to the documentation."""
    written = written_names()
    patterns = [f"{name}*" if name.endswith("/") else name for name in written]
    assert [pattern for pattern in sorted(patterns) if not fnmatch.filter(emitted, pattern)] == []
    assert {PREFIX, repro.PREFIX, variational.PREFIX, branching.PREFIX, "softthink/log_prob_gap*/mean"} <= written


def test_the_command_prints_every_row(monkeypatch):
    # All that rich knows of the terminal: wide, and no colours.
    monkeypatch.setattr("rich.console.Console._environ", {"COLUMNS": "300"})
    run = CliRunner().invoke(app, ["metrics"])
    assert run.exit_code == 0 and all(row.name in run.output for row in metrics())
