"""Hints, thoughts and answers, and leakage on texts small enough to check by eye."""

import pytest

from verl_softthink.methods.variational.metrics import answer_position, copied_fraction
from verl_softthink.methods.variational.settings import HintSettings, VariationalSettings
from verl_softthink.methods.variational.thoughts import Response, hint_of, with_answer, with_hint

ROW = {"reward_model": {"ground_truth": 7}, "extra_info": {"solution": "3+4=7 {question}"}}


def test_hints():
    assert hint_of(ROW, HintSettings(source="answer")) == "7"
    assert hint_of(ROW, HintSettings()) == "3+4=7 {question}"
    with pytest.raises(ValueError, match="has no extra_info.solution; .* set the source to 'answer'"):
        hint_of({"reward_model": {}}, HintSettings())
    messages = [{"role": "system", "content": "s"}, {"role": "user", "content": "what is {hint}?"}]
    hinted = with_hint(messages, "3+4=7 {question}", "Q {question} H {hint}!")
    assert hinted == [messages[0], {"role": "user", "content": "Q what is {hint}? H 3+4=7 {question}!"}]
    assert with_hint(messages, "7", "{hint}: {question}")[1]["content"] == "7: what is {hint}?"
    assert messages[1]["content"] == "what is {hint}?"
    with pytest.raises(ValueError, match="ends with a message of role 'assistant'"):
        with_hint([{"role": "assistant", "content": ""}], "7", "{question}{hint}")


def test_another_answer_after_a_thought():
    ids = [5, 8, 9, 8, 9, 3]
    response = Response(ids, [-0.1 * n for n in range(6)], 3)
    longer = with_answer(response, [1, 2, 2], [-1.0, -2.0, -3.0], limit=5)
    assert (longer.ids, longer.thought_length) == ([5, 8, 9, 1, 2], 3)
    assert longer.log_probs == pytest.approx([0, -0.1, -0.2, -1, -2])


def test_leakage():
    solution = "First add two and three, then multiply the sum by four."
    assert copied_fraction(solution, solution) == 1.0
    assert copied_fraction("We multiply the sum by four.", solution) == 0.0
    # Thirteen words and signs have six runs of eight; the copy holds the last three.
    assert copied_fraction("Well: and three, then multiply the sum by four.", solution) == pytest.approx(3 / 6)
    assert copied_fraction("it is 7", "7") == 1.0
    assert copied_fraction("it is 17", "7") == copied_fraction("anything", "") == 0.0
    assert answer_position("7 it is", "7") == 0.0
    assert answer_position("2 plus 17 is not 7", "7") == pytest.approx(5 / 6)
    assert answer_position("none", "7") == answer_position("none", "") == 1.0


def test_who_rolls_out_what():
    settings = VariationalSettings(model_share=0.25, posterior_every=3)
    assert settings.sessions_of_model(8) == 2
    assert [step for step in range(1, 10) if settings.trains_posterior(step)] == [3, 6, 9]
    assert not VariationalSettings().trains_posterior(6)
    assert (
        VariationalSettings(resampled_answers=1).cuts_thoughts and VariationalSettings(answer="product").cuts_thoughts
    )
    assert not VariationalSettings().cuts_thoughts
