"""A prompt's tree of responses for the page, rebuilt from the rows of a dump.

Every token of a row names its node (``fields.NODE``), and rows that share a node share its name; a node's parent is the
one before it in its rows.
"""

import re
from collections.abc import Sequence

from transformers import PreTrainedTokenizerBase

from verl_softthink.dump import DumpedResponse
from verl_softthink.methods.attnrl.fields import ADVANTAGE, NODE, ROOT, VALUE
from verl_softthink.report.page_parts import PageParts
from verl_softthink.report.tree_view import TreeNode, TreeView

#: verl's keys of rows are ``{prompt}_{leaf}_{index}``.
_KEY = re.compile(r"_(\d{1,9})_\d{1,9}\Z", re.ASCII)
#: Most trees on a page; those with the most leaves are shown.
PAGE_TREES = 3


class Trees(PageParts):
    """Adds the trees of a dump to the page."""

    def trees(self, responses: Sequence[DumpedResponse], tokenizer: PreTrainedTokenizerBase) -> list[TreeView]:
        return [tree_view(rows, tokenizer) for rows in prompts_of(responses)[:PAGE_TREES]]


def is_tree(response: DumpedResponse) -> bool:
    """Whether a dumped response is a leaf of a tree."""
    return NODE in response.extra


def tree_view(rows: Sequence[DumpedResponse], tokenizer: PreTrainedTokenizerBase) -> TreeView:
    """The tree of all dumped rows of one prompt.

    Raises:
        ValueError: a row's key or fields are not those of a leaf.
    """
    ordered = sorted(rows, key=_place)
    for row in ordered:
        _check(row)
    through: dict[int, list[tuple[DumpedResponse, int, int]]] = {}
    above: dict[int, int | None] = {}
    ends: set[int] = set()
    for row in ordered:
        last = None
        for node, start, end in _runs(row.extra[NODE].int().tolist()):
            through.setdefault(node, []).append((row, start, end))
            above.setdefault(node, last)
            last = node
        ends.add(last)
    largest = max(float(row.extra[ADVANTAGE].abs().max()) for row in ordered)
    nodes: list[TreeNode] = []

    below: dict[int | None, list[int]] = {}
    for node, parent in above.items():
        below.setdefault(parent, []).append(node)
    # Each node behind its parent: the next one to be written, with its parent's number and its level, is the last.
    waiting = [(node, None, 1) for node in reversed(below.get(None, []))]
    while waiting:
        node, parent, level = waiting.pop()
        row, start, end = through[node][0]
        advantage = float(row.extra[ADVANTAGE][start])
        nodes.append(
            TreeNode(
                number=len(nodes) + 1,
                parent=parent,
                level=level,
                text=tokenizer.decode(row.response_ids[start:end].tolist(), skip_special_tokens=False),
                start=start,
                end=end,
                leaves=len(through[node]),
                value=float(row.extra[VALUE][start]),
                advantage=advantage,
                leaf=node in ends,
                tint=abs(advantage) / largest if largest else 0.0,
            )
        )
        waiting += [(child, len(nodes), level + 1) for child in reversed(below.get(node, []))]
    root, leaves, apart = ordered[0].extra[ROOT].tolist()
    prompt = tokenizer.decode(ordered[0].prompt_ids.tolist())
    return TreeView(prompt, ordered[0].answer, root, round(leaves), round(apart), nodes)


def prompts_of(responses: Sequence[DumpedResponse]) -> list[list[DumpedResponse]]:
    """The leaves of a dump grouped by prompt, prompts with the most leaves first."""
    groups: dict[str, list[DumpedResponse]] = {}
    for response in filter(is_tree, responses):
        groups.setdefault(_KEY.sub("", response.key), []).append(response)
    return sorted(groups.values(), key=len, reverse=True)


def _place(response: DumpedResponse) -> int:
    """Number of the leaf."""
    found = _KEY.search(response.key)
    if found is None:
        raise ValueError(f"the key {response.key!r:.80} of a leaf does not end in _LEAF_INDEX")
    return int(found[1])


def _check(row: DumpedResponse) -> None:
    length = len(row.trace)
    sizes = {NODE: length, VALUE: length, ADVANTAGE: length, ROOT: 3}
    wrong = [name for name, size in sizes.items() if name not in row.extra or len(row.extra[name]) != size]
    wrong += [name for name in (NODE, ROOT) if name not in wrong and not row.extra[name].isfinite().all()]
    if wrong or not length:
        raise ValueError(
            f"the response {row.key!r:.80} is no leaf of a tree: look at {', '.join(wrong) or 'its length'}"
        )


def _runs(nodes: list[int]) -> list[tuple[int, int, int]]:
    """Node, start and end of every run of equal node numbers."""
    starts = [place for place in range(len(nodes)) if place == 0 or nodes[place] != nodes[place - 1]]
    return [(nodes[start], start, end) for start, end in zip(starts, [*starts[1:], len(nodes)], strict=True)]
