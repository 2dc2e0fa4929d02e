"""Our rows under verl's own scorer, which it chooses by ``data_source``."""

import pyarrow.parquet
import pytest
from data.test_prepare import PUBLISHED, write
from hypothesis import given
from hypothesis import strategies as st

from verl_softthink.data.answer_place import BOX, MARKER
from verl_softthink.data.prepare import describe, prepare
from verl_softthink.data.prompts import PROMPTS, asks_for
from verl_softthink.data.sources import SOURCES

KNOWN = [name for name, source in SOURCES.items() if source.scorer_reads]
#: A response in the form that the prompt asks for.
RESPONSES = {MARKER: "We add.\n#### {}", BOX: "We add. The answer is \\boxed{{{}}}."}


@pytest.fixture(scope="module")
def default_compute_score():
    return pytest.importorskip("verl.utils.reward_score").default_compute_score


def rows(name, tmp_path):
    split, suffix, records, _ = PUBLISHED[name]
    (path,) = prepare(name, tmp_path / "out", files={split: write(tmp_path / f"published{suffix}", records)})
    return pyarrow.parquet.read_table(path).to_pylist()


@pytest.mark.parametrize("name", ["deepscaler", "own"])
def test_two_data_sets_have_no_scorer_in_verl(default_compute_score, name):
    assert name not in KNOWN and len(KNOWN) == len(SOURCES) - 2
    with pytest.raises(NotImplementedError):
        default_compute_score(SOURCES[name].data_source, "", "1")


@pytest.mark.parametrize("name", KNOWN)
def test_a_response_of_the_form_asked_for_is_graded_by_verl(tmp_path, name, default_compute_score):
    response = RESPONSES[asks_for(SOURCES[name].prompt)]
    for row in rows(name, tmp_path):
        truth = row["reward_model"]["ground_truth"]
        scores = []
        for answer in (truth, f"7{truth}"):
            result = default_compute_score(row["data_source"], response.format(answer), truth, row["extra_info"])
            scores.append(result["acc"] if isinstance(result, dict) else result)
        assert scores == [1.0, 0.0]


@given(st.sampled_from(KNOWN), st.text())
def test_no_text_ends_a_run_in_verls_scorers(default_compute_score, name, text):
    for response in (text, f"\\boxed{{{text}}}", f"#### {text}"):
        default_compute_score(SOURCES[name].data_source, response, "7")


@pytest.mark.parametrize("name", SOURCES)
@pytest.mark.parametrize("prompt", PROMPTS)
@pytest.mark.parametrize("numbers", [True, False])
def test_which_rewards_fit_is_said(name, prompt, numbers):
    source = SOURCES[name]
    text = " ".join(describe(source, prompt, numbers=numbers))
    assert source.data_source in text and f"--prompt {prompt} asks" in text and asks_for(prompt) in text
    assert ("with nothing to set" in text) == (source.scorer_reads == asks_for(prompt))
    assert ("does not ask for: take --prompt" in text) == (source.scorer_reads not in (None, asks_for(prompt)))
    assert ("grader=math_verify" in text) == (not numbers)
