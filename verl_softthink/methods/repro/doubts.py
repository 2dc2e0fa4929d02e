"""What RePro looks for in responses, and a model may never write."""

from collections.abc import Sequence

from verl_softthink.methods.repro.settings import ANSWER_SLOT
from verl_softthink.methods.responses import Responses, unmarked, unwritten_answer


def doubts(responses: Responses, settings) -> list[str]:
    """A sentence for each text that no response contains: marker, delimiters, form of the answer."""
    method = settings.repro
    found = unmarked(responses, settings, "the answer is taken for a part of the thinking, and scored behind itself")
    if not any(_segmented(thought, method.delimiters) for thought in responses.thoughts):
        found.append(
            f"softthink.repro.delimiters={list(method.delimiters)!r}: none of {responses.noun} contains one in its "
            "thinking, so every thought is a single piece with a single reward; list delimiters that this model writes"
        )
    return found + unwritten_answer(responses, "softthink.repro.answer", method.answer, ANSWER_SLOT)


def _segmented(thought: Sequence[str], delimiters: Sequence[str]) -> bool:
    """Whether a token before the last one completes a delimiter, so that another segment begins behind it."""
    reach, tail = max(map(len, delimiters)), ""
    for piece in thought[:-1]:
        tail += piece
        if tail.endswith(tuple(delimiters)):
            return True
        tail = tail[-reach:]
    return False
