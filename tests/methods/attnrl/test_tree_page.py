"""Trees of responses on the page: rebuilt from the dump's rows, numbers as trained, reachable by keyboard."""

import re

import pytest
import torch
from support.chromium import needs_browser, showing

from verl_softthink.config.settings import LawSettings
from verl_softthink.dump import DumpedResponse, read_dump, write_dump
from verl_softthink.methods.attnrl.fields import ADVANTAGE, NODE, ROOT, VALUE
from verl_softthink.methods.attnrl.page import prompts_of, tree_view
from verl_softthink.methods.attnrl.tree import Continuation, InitialResponse, leaf_rows, nodes, root_value
from verl_softthink.report.trace_page import TracedResponse, render_page
from verl_softthink.report.tree_view import SHOWN_CHARACTERS
from verl_softthink.trace import SoftTrace

#: The worked example of the method: a branched response and one that was not.
TREE = [
    InitialResponse(
        9, 1.0, (Continuation(3, 4, 1.0), Continuation(3, 5, 0.0), Continuation(6, 2, 1.0), Continuation(6, 6, 1.0))
    ),
    InitialResponse(7, 0.0),
]
TRUNK = "one two 3"


@pytest.fixture(scope="module")
def rows(tokenizer) -> list[DumpedResponse]:
    found = []
    for number, leaf in enumerate(leaf_rows(TREE)):
        own = TREE[0].length if leaf.continuation is None else TREE[0].continuations[leaf.continuation].length
        text = TRUNK if leaf.continuation is None else TRUNK[: leaf.cut] + "<b>" + "x" * (own - 3)
        text = text if own >= 3 else TRUNK[: leaf.cut] + "y" * own
        ids = torch.tensor(tokenizer.encode(text))
        extra = {
            NODE: leaf.nodes.float(),
            VALUE: leaf.values,
            ADVANTAGE: leaf.advantages,
            ROOT: torch.tensor([root_value(TREE), 6.0, 1.0]),
        }
        reward = float(leaf.values[-1])
        trace = SoftTrace.of_tokens(torch.zeros(len(ids)))
        found.append(DumpedResponse(f"q_{number}_0", torch.tensor([50, 51]), ids, trace, reward, "4", extra))
    return found


def test_the_tree_of_the_dump_is_the_one_that_was_trained(rows, tokenizer, tmp_path):
    path = tmp_path / "traces-1.safetensors"
    write_dump(list(reversed(rows)), {"name": "discrete"}, path)
    (found,) = prompts_of(read_dump(path)[0])
    view = tree_view(found, tokenizer)
    assert view.root == pytest.approx(4 / 6) and (view.leaves, view.apart) == (6, 1)
    trained = nodes(TREE)
    assert len(view.nodes) == len(trained) == 7
    for one, other in zip(
        sorted(view.nodes, key=lambda node: (node.start, node.end, node.value)),
        sorted(trained, key=lambda node: (node.start, node.end, node.value)),
        strict=True,
    ):
        assert (one.start, one.end, one.leaves) == (other.start, other.end, other.leaves)
        assert (one.value, one.advantage) == pytest.approx((other.value, other.advantage), abs=1e-6)
    assert view.nodes[0].text == TRUNK[:3] and view.nodes[0].parent is None
    assert [node.level for node in view.nodes if node.leaf] == [3, 3, 3, 2, 2]
    for node in view.nodes[1:]:
        assert view.nodes[node.parent - 1].end == node.start and node.parent < node.number
    assert max(node.tint for node in view.nodes) == 1.0


def test_a_long_node_is_cut_in_the_middle(rows, tokenizer):
    view = tree_view(rows, tokenizer)
    long = type(view.nodes[0])(**{**vars(view.nodes[0]), "text": "a" * 500 + "z"})
    assert len(long.shown) == 2 * SHOWN_CHARACTERS + 3 and long.shown.endswith("az")


@pytest.fixture(scope="module")
def page(rows, tokenizer) -> str:
    response = TracedResponse(
        rows[0].trace, rows[0].response_ids.tolist(), tokenizer, LawSettings(name="discrete"), prompt="?"
    )
    return render_page([response], "trees", trees=[tree_view(rows, tokenizer)])


def test_every_node_is_an_item_with_its_numbers_and_a_row(page):
    items = re.findall(
        r'<div class="node (gain|loss)"[^>]*role="treeitem" aria-level="(\d)"[^>]*aria-label="([^"]*)"', page
    )
    assert len(items) == 7 and [kind for kind, _, _ in items].count("loss") == 1
    assert sum("advantage -1.467" in label for _, _, label in items) == 1
    assert sum("advantage +0.533" in label for _, _, label in items) == 1
    assert sum(", leaf: " in label for _, _, label in items) == 5
    assert "0.667" in page and "1 of them initial responses that were not branched" in page
    assert set(re.findall(r'data-row="(t1-\d)"', page)) == set(re.findall(r'<tr id="(t1-\d)"', page))
    # Text of the model stays text.
    assert "<b>" not in page and "&lt;b&gt;" in page


def test_without_trees_the_page_does_not_speak_of_them(rows, tokenizer):
    response = TracedResponse(
        rows[0].trace, rows[0].response_ids.tolist(), tokenizer, LawSettings(name="discrete"), prompt="?"
    )
    page = render_page([response], "t")
    assert 'role="tree"' not in page and "tree of responses" not in page


@needs_browser
def test_keyboard_in_a_browser(page, tmp_path):
    with showing(page, tmp_path) as browser:

        def focused() -> str:
            return browser.evaluate("document.activeElement.dataset.row")

        for _ in range(2):  # prompt, nodes
            browser.press("Tab")
        assert focused() == "t1-1"
        details = browser.evaluate("document.getElementById('details').innerText")
        assert "1 of 7" in details and "+0.1193" in details
        for key, wanted in (
            ("ArrowRight", "t1-2"),
            ("ArrowDown", "t1-3"),
            ("ArrowLeft", "t1-2"),
            ("ArrowLeft", "t1-1"),
            ("ArrowLeft", "t1-1"),
            ("End", "t1-7"),
            ("ArrowRight", "t1-7"),
            ("ArrowUp", "t1-6"),
            ("ArrowLeft", "t1-1"),
        ):
            browser.press(key)
            assert focused() == wanted, key
        edges = "getComputedStyle(document.querySelector('.node.{}')).borderInlineStartColor"
        colours = set()
        for scheme in ("light", "dark"):
            browser.media(scheme)
            colours |= {(scheme, browser.evaluate(edges.format(kind))) for kind in ("gain", "loss")}
        assert len({colour for _, colour in colours}) == 4
        assert not browser.evaluate("document.documentElement.scrollWidth > innerWidth")
