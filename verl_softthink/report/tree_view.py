"""A prompt's responses as a tree for the page: what branched, and what each part was worth."""

from dataclasses import dataclass

from verl_softthink.report.token_text import visible

#: Characters of a node's beginning and end that its line shows; the table has all of it.
SHOWN_CHARACTERS = 60


@dataclass(frozen=True)
class TreeNode:
    """One line of the drawing.

    Attributes:
        number: from 1, in the order of the lines.
        parent: number of the node above, None below the root.
        level: from 1.
        text: of its tokens.
        start, end: of its tokens in the response.
        leaves: rows through it.
        value: mean of their rewards.
        advantage: of its tokens.
        leaf: whether a response ends here.
        tint: advantage over the largest one of the prompt, in [0, 1].
    """

    number: int
    parent: int | None
    level: int
    text: str
    start: int
    end: int
    leaves: int
    value: float
    advantage: float
    leaf: bool
    tint: float

    @property
    def shown(self) -> str:
        """The text in one line, cut in the middle."""
        text = visible(self.text)
        if len(text) <= 2 * SHOWN_CHARACTERS:
            return text
        return f"{text[:SHOWN_CHARACTERS]} … {text[-SHOWN_CHARACTERS:]}"


@dataclass(frozen=True)
class TreeView:
    """One prompt.

    Attributes:
        prompt, answer: texts; no answer where the data set has none.
        root: mean value of all its leaves.
        leaves: how many there are.
        apart: initial responses among them that were not branched, which only count in the root.
        nodes: each behind its parent.
    """

    prompt: str
    answer: str | None
    root: float
    leaves: int
    apart: int
    nodes: list[TreeNode]
