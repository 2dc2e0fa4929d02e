"""The trace page with process rewards: tokens are tinted by their piece's reward, in words and in the table too."""

import re

import pytest

from verl_softthink.config.settings import LawSettings
from verl_softthink.report.trace_page import TracedResponse, render_page

LAW = LawSettings(name="gumbel")


@pytest.fixture(scope="module")
def response(tokenizer, soft_trace):
    ids = tokenizer.encode("one two, 12")

    def make(**process) -> TracedResponse:
        return TracedResponse(soft_trace(ids, 8), ids, tokenizer, LAW, prompt="?", **process)

    return make


def test_pieces_are_tinted_by_the_sign_and_size_of_their_reward(response):
    pieces = [0] * 3 + [1] * 4 + [2] + [-1] * 3
    rewards = [0.5] * 3 + [-0.125] * 4 + [0.0] + [0.0] * 3
    page = render_page([response(pieces=pieces, piece_rewards=rewards)], "t")
    cells = re.findall(r'<div class="cell (\w+)( gain| loss)?"(?: style="--tint:([\d.]+)")?', page)
    assert [kind.strip() for _, kind, _ in cells] == ["gain"] * 3 + ["loss"] * 4 + ["gain"] + [""] * 3
    assert [tint for _, _, tint in cells] == ["1.000"] * 3 + ["0.250"] * 4 + ["0.000"] + [""] * 3
    assert page.count("process reward -0.125") == 4
    assert page.count("<td>2</td><td>-0.125</td>") == 4 and page.count("<td>none</td><td>none</td>") == 3
    assert "raised the score of the right answer" in page


def test_without_process_rewards_nothing_speaks_of_them(response):
    page = render_page([response()], "t")
    assert "Process reward" not in page and "raised the score" not in page and "--tint:." not in page


def test_a_page_of_both_kinds_explains_the_tints(response):
    with_rewards = response(pieces=[0] * 11, piece_rewards=[0.0] * 11)
    page = render_page([response(), with_rewards], "t")
    assert "raised the score of the right answer" in page
    assert page.count('style="--tint:0.000"') == 11
