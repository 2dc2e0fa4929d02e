"""What is forced where thinking is cut short: the lead-in, less the part of the marker that has already begun.

    written so far      lead-in                     forced
    ... so 5            </think>\\n\\nThe answer      </think>\\n\\nThe answer
    ... so 5</          </think>\\n\\nThe answer      think>\\n\\nThe answer
    ... The final       \\n\\nThe final answer is:    answer is:

A cut may fall inside the marker; forced whole, it would then stand there doubled (``</</think>``). So of a lead-in that
holds the marker only what follows its longest begun part is forced, and of one that does not hold it everything. The
part is counted in what the marker is matched by: token ids, or bytes of text. Its rest is taken from the lead-in's own
tokens; where the part ends inside one of them, the fewest tokens that write the remaining bytes come first.

An added token of the tokenizer, as ``</think>`` is Qwen3's, has no parts: its rest, spelled out, would be another
marker than the model has learnt, and the ``<`` before it is more likely an inequality. A part that ends inside one
counts as not begun.
"""

from bisect import bisect_left
from collections.abc import Callable, Collection
from functools import lru_cache
from itertools import accumulate
from typing import TYPE_CHECKING

from verl_softthink.thinking import check_text_marker, token_finder, token_writer

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

#: Longest lead-in and answer prefix, in tokens.
MAX_FORCED = 32
#: Token lists, one for every length of the begun part from 0 on.
LeadIns = tuple[tuple[int, ...], ...]
#: Lead-ins whose lists are kept, so that requests with equal settings work them out once.
_KEPT = 64


def lead_ins_by_tokens(lead_in: tuple[int, ...], marker: tuple[int, ...]) -> LeadIns:
    """What is forced behind each number of the marker's tokens, from 0 to all but one."""
    width = len(marker)
    at = next((at for at in range(len(lead_in) - width + 1) if lead_in[at : at + width] == marker), None)
    if at is None:
        return (lead_in,) * width
    return (lead_in, *(lead_in[at + count :] for count in range(1, width)))


def lead_ins_by_text(
    lead_in: tuple[int, ...],
    marker: bytes,
    write: Callable[[int], bytes],
    find: Callable[[bytes], int | None],
    added: Collection[int] = (),
) -> LeadIns:
    """What is forced behind each number of the marker's bytes, from 0 to all but one.

    Args:
        write: what a token writes.
        find: the token that writes exactly these bytes; None where there is none. A part whose rest no tokens write
            counts as not begun.
        added: the tokenizer's added tokens.
    """
    pieces = [write(token) for token in lead_in]
    ends, text = list(accumulate(map(len, pieces))), b"".join(pieces)
    at = text.find(marker)
    if at < 0:
        return (lead_in,) * len(marker)
    lists = [lead_in]
    for rest in range(at + 1, at + len(marker)):
        # The token whose last byte is here or later: the part ends with it, or inside it.
        token = bisect_left(ends, rest)
        missing = fewest_tokens(text[rest : ends[token]], find)
        atomic = ends[token] > rest and lead_in[token] in added
        lists.append(lead_in if missing is None or atomic else (*missing, *lead_in[token + 1 :]))
    return tuple(lists)


def fewest_tokens(written: bytes, find: Callable[[bytes], int | None]) -> tuple[int, ...] | None:
    """The shortest list of tokens that writes exactly these bytes; None where there is none."""
    best: list[tuple[int, ...] | None] = [()]
    for end in range(1, len(written) + 1):
        lists = [
            (*best[start], token)
            for start in range(end)
            if best[start] is not None and (token := find(written[start:end])) is not None
        ]
        best.append(min(lists, key=len, default=None))
    return best[-1]


@lru_cache(maxsize=_KEPT)
def lead_ins_of(tokenizer: "PreTrainedTokenizerBase", lead_in: tuple[int, ...], marker: str) -> LeadIns:
    """``lead_ins_by_text`` with the tokens of a tokenizer.

    Raises:
        ValueError: when the marker cannot be written, or a list is too long.
    """
    check_text_marker(marker, tokenizer)
    added = tokenizer.added_tokens_decoder.keys()
    lists = lead_ins_by_text(lead_in, marker.encode(), token_writer(tokenizer), token_finder(tokenizer), added)
    if (longest := max(map(len, lists))) > MAX_FORCED:
        raise ValueError(
            f"softthink.phase.lead_in is {len(lead_in)} tokens long, and {longest} where it goes on with a marker that "
            f"has begun; use fewer than {MAX_FORCED}"
        )
    return lists
