"""What a method adds to the page of traces, from the fields that its stage has put into the dump."""

from collections.abc import Sequence
from typing import Protocol

from transformers import PreTrainedTokenizerBase

from verl_softthink.dump import DumpedResponse
from verl_softthink.report.tree_view import TreeView


class PageParts(Protocol):
    """One method's parts; a dump without its fields gives none."""

    def of_response(self, response: DumpedResponse) -> dict[str, object]:
        """Fields of ``trace_view.TracedResponse`` that the method fills in."""
        return {}

    def trees(self, responses: Sequence[DumpedResponse], tokenizer: PreTrainedTokenizerBase) -> list[TreeView]:
        """Trees of responses, to stand above the responses; the largest first."""
        return []
