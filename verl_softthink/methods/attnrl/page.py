"""A prompt's tree of responses for the page, rebuilt from the rows of a dump.

Every token of a row names its node (``fields.NODE``), and rows that share a node share its name; a node's parent is the
one before it in its rows.
"""

from collections.abc import Sequence

from transformers import PreTrainedTokenizerBase

from verl_softthink.dump import DumpedResponse
from verl_softthink.methods.attnrl.fields import ADVANTAGE, NODE, ROOT, VALUE
from verl_softthink.report.page_parts import PageParts
from verl_softthink.report.tree_view import TreeNode, TreeView

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
    """The tree of all dumped rows of one prompt."""
    ordered = sorted(rows, key=_place)
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

    def walk(parent: int | None, parent_number: int | None, level: int) -> None:
        for node in [node for node, up in above.items() if up == parent]:
            row, start, end = through[node][0]
            advantage = float(row.extra[ADVANTAGE][start])
            nodes.append(
                TreeNode(
                    number=len(nodes) + 1,
                    parent=parent_number,
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
            walk(node, len(nodes), level + 1)

    walk(None, None, 1)
    root, leaves, apart = ordered[0].extra[ROOT].tolist()
    prompt = tokenizer.decode(ordered[0].prompt_ids.tolist())
    return TreeView(prompt, ordered[0].answer, root, round(leaves), round(apart), nodes)


def prompts_of(responses: Sequence[DumpedResponse]) -> list[list[DumpedResponse]]:
    """The leaves of a dump grouped by prompt, prompts with the most leaves first."""
    groups: dict[str, list[DumpedResponse]] = {}
    for response in filter(is_tree, responses):
        groups.setdefault(response.key.rsplit("_", 2)[0], []).append(response)
    return sorted(groups.values(), key=len, reverse=True)


def _place(response: DumpedResponse) -> int:
    """Number of the leaf: verl's row keys are ``{prompt}_{leaf}_{index}``."""
    return int(response.key.rsplit("_", 2)[1])


def _runs(nodes: list[int]) -> list[tuple[int, int, int]]:
    """Node, start and end of every run of equal node numbers."""
    starts = [place for place in range(len(nodes)) if place == 0 or nodes[place] != nodes[place - 1]]
    return [(nodes[start], start, end) for start, end in zip(starts, [*starts[1:], len(nodes)], strict=True)]
