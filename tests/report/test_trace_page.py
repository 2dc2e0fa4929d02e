"""The trace page: structure, numbers, awkward tokens, self-containment and the keyboard."""

import base64
import hashlib
import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest
import torch
from support.awkward import ATTRIBUTE, AWKWARD, MARKER, NOISE_SCALE, SCRIPT, TAU
from support.chromium import needs_browser, showing

from verl_softthink.config.settings import LawSettings
from verl_softthink.laws import LAWS, Action
from verl_softthink.report.token_text import token_writer, visible
from verl_softthink.report.trace_page import TracedResponse, render_page
from verl_softthink.trace import SoftTrace

LAW = LawSettings(name="gumbel", tau=TAU, noise_scale=NOISE_SCALE)


class Outline(HTMLParser):
    """Elements in order, each with its attributes and the text directly inside."""

    VOID = {"meta", "link", "br", "img", "input"}

    def __init__(self, page: str):
        super().__init__(convert_charrefs=True)
        self.elements, self._open = [], []
        self.feed(page)
        self.close()
        assert not self._open, f"unclosed: {self._open}"

    def handle_starttag(self, tag, attrs):
        element = {"tag": tag, "attrs": dict(attrs), "text": ""}
        self.elements.append(element)
        if tag not in self.VOID:
            self._open.append(element)

    def handle_endtag(self, tag):
        assert self._open and self._open[-1]["tag"] == tag, f"</{tag}> closes {self._open[-1:]}"
        self._open.pop()

    def handle_data(self, data):
        if self._open:
            self._open[-1]["text"] += data

    def all(self, **wanted: str) -> list[dict]:
        tag = wanted.pop("tag", None)
        return [
            element
            for element in self.elements
            if tag in (None, element["tag"]) and all(element["attrs"].get(k) == v for k, v in wanted.items())
        ]


@pytest.fixture(scope="module")
def responses(tokenizer, soft_trace) -> list[TracedResponse]:
    ids = tokenizer.encode("".join(AWKWARD))
    end = ids.index(tokenizer.convert_tokens_to_ids(MARKER))
    return [
        TracedResponse(soft_trace(ids, end), ids, tokenizer, LAW, prompt="<b>2+2?</b>", answer="4", reward=1.0),
        TracedResponse(soft_trace(ids, end, forced=True), ids, tokenizer, LAW, prompt="2+2?"),
    ]


@pytest.fixture(scope="module")
def page(responses) -> str:
    return render_page(responses, 'Traces of <run> & "co"')


def test_every_position_is_an_option_with_a_name_and_a_row(page, responses):
    outline = Outline(page)
    options, lists = outline.all(role="option"), outline.all(role="listbox")
    assert len(lists) == 2 and all(strip["attrs"]["aria-label"] for strip in lists)
    assert len(options) == sum(len(response.token_ids) for response in responses)
    assert [option["attrs"]["tabindex"] for option in options].count("0") == 2
    rows = {row["attrs"]["id"] for row in outline.all(tag="tr") if "id" in row["attrs"]}
    assert {option["attrs"]["data-row"] for option in options} == rows
    ids = [element["attrs"]["id"] for element in outline.elements if "id" in element["attrs"]]
    assert len(ids) == len(set(ids))
    for option in options:
        number = option["attrs"]["data-row"].rpartition("-")[2]
        assert option["attrs"]["aria-label"].startswith(f"{number}: ")


def test_bars_and_numbers_are_the_laws_weights(page, responses):
    trace = responses[0].trace
    parameters = LAWS["gumbel"].columns(len(trace), tau=TAU, noise_scale=NOISE_SCALE)
    weights = LAWS["gumbel"].weights(Action(ids=trace.ids.long(), values=trace.values), parameters)
    labels = [option["attrs"]["aria-label"] for option in Outline(page).all(role="option")][: len(trace)]
    shown = [re.search(r"([\d.]+) effective tokens$", label) for label in labels]
    assert [match is not None for match in shown] == trace.drawn.tolist()
    for match, row in zip(shown, weights, strict=True):
        if match:
            assert float(match[1]) == pytest.approx(1 / float((row**2).sum()), abs=0.0051)
    strip = page[page.index('data-row="r1-3"') : page.index('data-row="r1-4"')]
    drawn = [float(weight) for weight in re.findall(r"flex:([\d.]+)", strip)]
    kept = sorted((float(weight) for weight in weights[2] if weight >= 0.005), reverse=True)
    assert drawn == pytest.approx(kept, abs=0.00051)


def test_phases_follow_the_flags(page, responses):
    end = responses[0].trace.drawn.sum().item() - 1
    labels = [option["attrs"]["aria-label"] for option in Outline(page).all(role="option")]
    first, second = labels[: len(labels) // 2], labels[len(labels) // 2 :]
    assert all(", thinking," in label for label in first[:end] + second[:end])
    assert ", end of thinking," in first[end] and second[end].endswith(", forced")
    assert all(label.endswith(", answering") for label in first[end + 1 :] + second[end + 1 :])


def test_thinking_in_tokens_is_thinking(page, responses):
    """As after a switch: neither drawn nor forced, and no answer yet."""
    trace = responses[0].trace
    flags = {name: getattr(trace, name).clone() for name in ("soft", "drawn", "discrete")}
    flags["soft"][1], flags["drawn"][1], flags["discrete"][1] = False, False, True
    switched = replace(responses[0], trace=replace(trace, **flags))
    outline = Outline(render_page([switched], "switched"))
    labels = [option["attrs"]["aria-label"] for option in outline.all(role="option")]
    assert [", thinking in tokens" in label for label in labels[:3]] == [False, True, False]
    legend = "thinking in tokens: switched to ordinary ones for a while"
    assert legend in " ".join(item["text"] for item in outline.all(tag="li")) and legend not in page
    (thought,) = outline.all(**{"class": "thought"})
    (unswitched, _) = Outline(page).all(**{"class": "thought"})
    assert thought["attrs"]["d"] == unswitched["attrs"]["d"]


def test_unrecorded_values_are_said_to_be_so(page):
    cells = [cell["text"] for cell in Outline(page).all(tag="td")]
    assert cells.count("not recorded") == 2 and cells.count("nothing was drawn") == 5


def test_tokens_cannot_leave_their_place(page):
    outline = Outline(page)
    assert len(outline.all(tag="script")) == 1
    assert not outline.all(tag="b") and not outline.all(tag="run")
    assert not any(name.startswith("on") for element in outline.elements for name in element["attrs"])
    tokens = [element["text"] for element in outline.all(**{"class": "token"})]
    assert SCRIPT in tokens and ATTRIBUTE.replace(" ", "␣") in tokens
    assert tokens[:4] == ["⟨F0⟩", "⟨9F⟩", "⟨99⟩", "⟨82⟩"]
    assert outline.all(tag="h1")[0]["text"] == 'Traces of <run> & "co"'
    # Only inside the plain-text views do control characters stay as they are.
    assert "\u202e" not in "".join(tokens)


def test_page_is_self_contained_and_allows_only_its_own_script(page):
    outline = Outline(page)
    assert not any(name in element["attrs"] for element in outline.elements for name in ("src", "href", "srcset"))
    assert "url(" not in page and "@import" not in page
    policy = outline.all(**{"http-equiv": "Content-Security-Policy"})[0]["attrs"]["content"]
    script = outline.all(tag="script")[0]["text"]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in policy and "default-src 'none'" in policy


@pytest.mark.parametrize("scheme", [0, 1])
def test_colours_have_enough_contrast(page, scheme):
    blocks = re.findall(r":root \{(.*?)\}", page, re.S)
    colours = dict(re.findall(r"--(\w+): #(\w{6})", blocks[scheme]))

    def luminance(colour: str) -> float:
        channels = [int(colour[i : i + 2], 16) / 255 for i in (0, 2, 4)]
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    def contrast(first: str, second: str) -> float:
        high, low = sorted((luminance(colours[first]), luminance(colours[second])), reverse=True)
        return (high + 0.05) / (low + 0.05)

    for ground in ("page", "card"):
        # WCAG 2.2: 4.5 for text, 3 for graphics and focus marks.
        assert all(contrast(text, ground) >= 4.5 for text in ("ink", "quiet", "k1", "k2"))
        assert all(contrast(mark, ground) >= 3 for mark in ("k1", "k2", "k3", "k4", "k5", "plain", "focus"))


def test_invisible_characters_are_written_out():
    assert visible(" a\n\t") == "␣a⏎⇥"
    assert visible("\u202e\0\u200d\u00a0") == "\\u{202e}\\u{0}\\u{200d}\\u{a0}"
    assert visible("\u0301") == "◌\u0301" and visible("") == ""


def test_small_weights_are_not_rounded_away(tokenizer):
    trace = SoftTrace(
        soft=torch.tensor([True, True]),
        drawn=torch.tensor([True, True]),
        forced=torch.tensor([False, False]),
        discrete=torch.tensor([False, False]),
        ids=torch.tensor([[5, 6], [5, -1]], dtype=torch.int32),
        values=torch.tensor([[0.0, -5.0], [0.0, 0.0]]),
        log_prob=torch.zeros(2),
        entropy=torch.zeros(2),
        end_reason="none",
    )
    page = render_page([TracedResponse(trace, [5, 5], tokenizer, LAW, prompt="")], "weights")
    shares = [element["text"] for element in Outline(page).all(tag="span") if element["text"].endswith(" %")]
    assert shares == ["> 99.9 %", "< 0.1 %", "100.0 %"]


def test_equal_draws_are_one_candidate(tokenizer):
    trace = SoftTrace(
        soft=torch.tensor([True, True]),
        drawn=torch.tensor([True, True]),
        forced=torch.tensor([False, False]),
        discrete=torch.tensor([False, False]),
        ids=torch.tensor([[5, 6, 5], [5, 5, 5]], dtype=torch.int32),
        values=torch.zeros(2, 3),
        log_prob=torch.zeros(2),
        entropy=torch.zeros(2),
        end_reason="none",
    )
    page = render_page([TracedResponse(trace, [5, 5], tokenizer, LawSettings(name="multiplex"), prompt="")], "draws")
    outline = Outline(page)
    shares = [element["text"] for element in outline.all(tag="span") if element["text"].endswith(" %")]
    assert shares == ["66.7 %", "33.3 %", "100.0 %"]
    labels = [option["attrs"]["aria-label"] for option in outline.all(role="option")]
    assert [label.rpartition(", ")[2] for label in labels] == ["1.80 effective tokens", "1.00 effective tokens"]


def test_a_drawn_embedding_is_said_to_be_shown_without_its_noise(tokenizer, soft_trace):
    shown = [LawSettings(name=name) for name in ("gaussian", "gumbel")]
    pages = [
        render_page([TracedResponse(soft_trace([5, 6, 7], 2), [5, 6, 7], tokenizer, law, prompt="")], "t")
        for law in shown
    ]
    assert ["the noise that was fed with it is not shown" in page for page in pages] == [True, False]


@pytest.mark.parametrize(
    ("law", "text"),
    [
        (LAW, "gumbel, tau 0.5, noise scale 1"),
        (
            LawSettings(name="gaussian", gamma=0.5),
            "gaussian, gamma 0.5, fed embedding, shown likeliest, covariance isotropic",
        ),
        (LawSettings(name="deterministic"), "deterministic"),
    ],
)
def test_the_law_is_named_with_the_settings_that_it_reads(tokenizer, soft_trace, law, text):
    page = render_page([TracedResponse(soft_trace([5, 6, 7], 2), [5, 6, 7], tokenizer, law, prompt="")], "t")
    assert f"<dt>law</dt><dd>{text}</dd>" in page


def test_unknown_ids_are_numbers(tokenizer):
    assert token_writer(tokenizer)(len(tokenizer) + 5) == f"⟨id {len(tokenizer) + 5}⟩"


def test_wrong_lengths_and_no_responses_are_refused(tokenizer, soft_trace):
    with pytest.raises(ValueError, match="2 tokens and trace 3 positions"):
        TracedResponse(soft_trace([1, 2, 3], 2), [1, 2], tokenizer, LAW, prompt="")
    with pytest.raises(ValueError, match="at least one"):
        render_page([], "none")


@needs_browser
def test_keyboard_in_a_browser(page, responses, tmp_path):
    with showing(page, tmp_path) as browser:

        def focused() -> str:
            return browser.evaluate("document.activeElement.dataset.row")

        weights = LAWS[LAW.name].weights(
            Action(ids=responses[0].trace.ids.long(), values=responses[0].trace.values),
            LAW.columns(len(responses[0].trace)),
        )
        effective = (1 / weights.square().sum(-1)).where(responses[0].trace.drawn, 0.0)
        for _ in range(4):  # prompt, response text, profile, positions
            browser.press("Tab")
        # Until the reader chooses, the most mixed position is chosen.
        assert focused() == f"r1-{int(effective.argmax()) + 1}"
        browser.press("Home")
        assert focused() == "r1-1"
        browser.press("ArrowLeft")
        assert focused() == "r1-1"
        browser.press("ArrowRight")
        assert focused() == "r1-2"
        assert browser.evaluate("document.activeElement.matches(':focus-visible')")
        assert browser.evaluate("document.querySelectorAll('[aria-selected=true]').length") == 1
        details = browser.evaluate("document.getElementById('details').innerText")
        assert f"2 of {len(responses[0].token_ids)}" in details and "thinking" in details
        browser.press("ArrowDown")
        top = "document.querySelector('[data-row={}]').getBoundingClientRect().top"
        assert browser.evaluate(f"{top.format(focused())} > {top.format('r1-2')}")
        browser.press("End")
        assert focused() == f"r1-{len(responses[0].token_ids)}"
        browser.press("Home")
        assert focused() == "r1-1"
        grounds = set()
        for scheme in ("light", "dark"):
            browser.media(scheme)
            grounds.add(browser.evaluate("getComputedStyle(document.body).backgroundColor"))
        assert len(grounds) == 2
        assert not browser.evaluate("document.documentElement.scrollWidth > innerWidth")
