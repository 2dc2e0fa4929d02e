"""Numbers of an audit by hand, what is printed of them, and the picture."""

import json

import pytest
from support.thoughts import response

from verl_softthink.config.settings import LawSettings
from verl_softthink.evaluation.audit.arms import ARMS
from verl_softthink.evaluation.audit.outcomes import AuditedProblem, AuditedResponse, Mixtures
from verl_softthink.evaluation.audit.summary import sentences, summarise, table
from verl_softthink.report.audit_figure import plot_audit

PROBLEMS = 400


def audited(number: int, *, several: int = 1, answered: bool = True) -> AuditedProblem:
    """Two thoughts: right in every arm, and right unless the thought is one-hot or removed."""
    both = dict.fromkeys(("sampled", *ARMS), True)
    mixtures = Mixtures(positions=5, soft=4, effective=4.0 + several, several=several, single=2)
    responses = [
        AuditedResponse(right=both, answered=True, same=True, mixtures=mixtures),
        AuditedResponse(
            right=both | {"one_hot": False, "removed": False}, answered=answered, same=answered, mixtures=mixtures
        ),
    ]
    return AuditedProblem.of(number, responses)


def test_numbers_by_hand():
    summary = summarise([audited(number, answered=number > 0) for number in range(PROBLEMS)], seed=0)
    assert (summary["problems"], summary["thoughts"], summary["same_answers"]) == (PROBLEMS, 2 * PROBLEMS, 1.0)
    assert summary["unanswered"] == pytest.approx(1 / (2 * PROBLEMS))
    assert {arm: values["mean"] for arm, values in summary["accuracy"].items()} == {
        arm: 0.5 if arm in ("one_hot", "removed") else 1.0 for arm in ("sampled", *ARMS)
    }
    assert summary["loss"]["one_hot"]["mean"] == 0.5 and summary["loss"]["uniform"]["mean"] == 0.0
    assert "as_they_are" not in summary["loss"]
    for values in (*summary["accuracy"].values(), *summary["loss"].values()):
        assert values["low"] <= values["mean"] <= values["high"] and values["high"] - values["low"] > 0.005
    means = {name: values["mean"] for name, values in summary["mixtures"].items()}
    assert means == {"soft_share": 0.8, "effective_tokens": 1.25, "several": 0.25, "single_candidate": 0.5}
    assert summary["verdict"]["mixtures"] == "depends"
    assert json.loads(json.dumps(summary))["by_problem"][3]["right"]["one_hot"] == 1
    said = sentences(summary)
    assert "never answered" in said[0] and said[-1].startswith("Verdict: the answer depends on the mixture")
    assert table(summary, "t").row_count == 1 + len(ARMS)


def test_losses_are_paired():
    """Problems that are right in both arms or wrong in both say nothing about the difference."""
    whole, none = audited(0), audited(1)
    none = AuditedProblem(**vars(none) | {"right": dict.fromkeys(none.right, 0)})
    whole = AuditedProblem(**vars(whole) | {"right": dict.fromkeys(whole.right, 2)})
    summary = summarise([whole, none] * (PROBLEMS // 2), seed=0)
    assert summary["accuracy"]["one_hot"]["high"] - summary["accuracy"]["one_hot"]["low"] > 0.09
    assert summary["loss"]["one_hot"]["high"] < 0.01 and summary["verdict"]["mixtures"] == "as well"


def test_without_soft_positions_there_is_nothing_to_conclude():
    empty = AuditedProblem(**vars(audited(0)) | {"mixtures": Mixtures(positions=5)})
    summary = summarise([empty] * 3, seed=0)
    assert summary["mixtures"]["effective_tokens"] is None and summary["verdict"]["mixtures"] is None
    assert len(sentences(summary)) == 4


@pytest.mark.parametrize("law", ["gumbel", "multiplex", "gaussian", "discrete"])
def test_mixtures_are_counted_by_token(law):
    settings = LawSettings(name=law)
    trace, _ = response(settings, 9)
    counts = Mixtures.of_trace(trace, settings)
    assert (counts.positions, counts.soft) == (len(trace), 10)
    distinct = [len(set(row) - {-1}) for row in trace.ids[trace.soft].tolist()]
    assert counts.single == distinct.count(1)
    assert counts.soft <= counts.effective <= sum(distinct) + 1e-4
    if law == "discrete":
        assert counts.effective == counts.soft == counts.single and counts.several == 0
    assert counts + Mixtures() == counts and (counts + counts).effective == 2 * counts.effective
    assert Mixtures.of_trace(trace.truncated(0), settings) == Mixtures()


def test_the_picture_is_drawn(tmp_path):
    summary = summarise([audited(number) for number in range(8)], seed=0)
    path = plot_audit(summary["accuracy"], tmp_path / "new" / "audit.png", baseline="as_they_are", title="pocket")
    assert path.read_bytes().startswith(b"\x89PNG")
