"""The profile strip: bars are the numbers, one scale for the page, and every way to jump with it in a browser."""

import re

import pytest
import torch
from support.awkward import NOISE_SCALE, TAU
from support.chromium import needs_browser, showing

from verl_softthink.config.settings import LawSettings
from verl_softthink.laws import LAWS, Action
from verl_softthink.report.profile_strip import LEAST_EFFECTIVE, LEAST_ENTROPY, MIDDLE
from verl_softthink.report.trace_page import TracedResponse, render_page
from verl_softthink.report.trace_view import END_REASONS
from verl_softthink.trace import END_REASONS as REASONS
from verl_softthink.trace import SoftTrace

LAW = LawSettings(name="gumbel", tau=TAU, noise_scale=NOISE_SCALE)


def bars(page: str, kind: str) -> list[dict[int, int]]:
    """Heights of each response's bars by position, upwards negative."""
    paths = re.findall(rf'<path class="{kind}" d="([^"]*)"', page)
    return [{int(x): int(h) for x, h in re.findall(rf"M(\d+) {MIDDLE}v(-?\d+)h1v-?\d+z", path)} for path in paths]


@pytest.fixture(scope="module")
def responses(tokenizer, soft_trace) -> list[TracedResponse]:
    """Twelve soft and four more positions; and twenty of ordinary tokens."""
    soft = tokenizer.encode("abcdefghijkl" + "mnop")
    plain = tokenizer.encode("a" * 20)
    discrete = SoftTrace.of_tokens(torch.full((20,), -1.0))
    discrete.entropy[:] = torch.linspace(0, 2, 20)
    return [
        TracedResponse(soft_trace(soft, 11), soft, tokenizer, LAW, prompt="?", pair="first"),
        TracedResponse(discrete, plain, tokenizer, LawSettings(name="discrete"), prompt="?", pair="second"),
    ]


@pytest.fixture(scope="module")
def page(responses) -> str:
    return render_page(responses, "profile")


def test_bars_are_entropies_and_effective_tokens_on_one_scale(page, responses):
    trace = responses[0].trace
    weights = LAWS["gumbel"].weights(
        Action(ids=trace.ids.long(), values=trace.values),
        LAWS["gumbel"].columns(len(trace), tau=TAU, noise_scale=NOISE_SCALE),
    )
    effective = (1 / weights[trace.drawn].square().sum(-1)).tolist()
    (found,) = bars(page, "effective")
    expected = [round((value - 1) / (max(effective) - 1) * MIDDLE) for value in effective]
    assert max(expected) == MIDDLE and len(expected) == 12
    assert found == {at: height for at, height in enumerate(expected) if height}
    for entropies, drawn in zip((r.trace.entropy for r in responses), bars(page, "entropy"), strict=True):
        heights = [0 if value != value else round(-value / 2.0 * MIDDLE) for value in entropies.tolist()]
        assert drawn == {at: height for at, height in enumerate(heights) if height}
    assert page.count("entropy, to 2.00 nats") == 2
    assert page.count(f"effective tokens, 1 to {max(effective):.2f}") == 1 and page.count("tokens: one each") == 1
    thought = re.findall(r'<path class="thought" d="([^"]*)"', page)
    assert [len(re.findall("M", path)) for path in thought] == [12, 0]


def test_what_was_not_recorded_and_what_is_flat_is_not_magnified(tokenizer):
    trace = SoftTrace.of_tokens(torch.zeros(3))
    page = render_page([TracedResponse(trace, [5, 5, 5], tokenizer, LAW, prompt="")], "t")
    assert "entropy: not recorded" in page and bars(page, "entropy") == []
    trace.entropy[:] = LEAST_ENTROPY / 10
    page = render_page([TracedResponse(trace, [5, 5, 5], tokenizer, LAW, prompt="")], "t")
    assert bars(page, "entropy") == [{0: -MIDDLE // 10, 1: -MIDDLE // 10, 2: -MIDDLE // 10}]
    assert LEAST_EFFECTIVE > 1


def test_every_reason_for_the_end_of_thinking_has_words():
    assert set(END_REASONS) == set(REASONS)


@needs_browser
def test_jumping_in_a_browser(page, responses, tmp_path):
    with showing(page, tmp_path, width=1400) as browser:

        def chosen() -> str:
            return browser.evaluate("document.querySelector('[aria-selected=true]').dataset.row")

        def click(number: int, share: float) -> None:
            box = browser.evaluate(
                f"(b => [b.left, b.top, b.width, b.height])(document.querySelectorAll('.profile svg')[{number}]"
                ".getBoundingClientRect())"
            )
            place = {"x": box[0] + share * box[2], "y": box[1] + box[3] / 2, "button": "left", "clickCount": 1}
            for kind in ("mousePressed", "mouseReleased"):
                browser.call("Input.dispatchMouseEvent", type=kind, **place)

        click(0, 2.5 / len(responses[0].token_ids))
        assert chosen() == "r1-3" and "3 of 16" in browser.evaluate("document.getElementById('details').innerText")
        # The profile keeps the focus, so that arrow keys go on from there.
        for key, row in (
            ("ArrowRight", "r1-4"),
            ("ArrowLeft", "r1-3"),
            ("PageUp", "r1-13"),
            ("PageUp", "r1-16"),
            ("Home", "r1-1"),
            ("ArrowLeft", "r1-1"),
            ("End", "r1-16"),
        ):
            browser.press(key)
            assert chosen() == row
        slider = "document.querySelectorAll('[role=slider]')[{}]"
        assert browser.evaluate(f"{slider.format(0)}.getAttribute('aria-valuenow')") == "16"
        assert "answering" in browser.evaluate(f"{slider.format(0)}.getAttribute('aria-valuetext')")
        browser.press("Enter")
        assert browser.evaluate("document.activeElement.dataset.row") == "r1-16"
        browser.press("ArrowLeft")
        cursor = "getComputedStyle({}.querySelector('.cursor')).display"
        assert browser.evaluate(f"{slider.format(0)}.querySelector('.cursor').getAttribute('x')") == "14"
        # One position is chosen on the page: the other response's mark goes.
        click(1, 0.999)
        assert chosen() == "r2-20"
        shown = [browser.evaluate(cursor.format(slider.format(number))) for number in (0, 1)]
        assert shown == ["none", "inline"]
        assert not browser.evaluate("document.documentElement.scrollWidth > innerWidth")
