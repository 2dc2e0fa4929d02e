"""Where segments end: exact matching of delimiter strings across token boundaries, by tables over the vocabulary.

The matcher is an Aho-Corasick automaton: its state is the longest suffix of the text so far that is a prefix of some
delimiter, and ``next_state[s, v]`` is the state that token ``v`` leads to from state ``s``. A state depends on no more
characters than the longest delimiter has, and every token has at least one, so that many gathers give all states of a
batch.

A segment ends with the token that completes a delimiter. Where a blank token extends one delimiter to another (".\\n"
and "\\n\\n" by a second line break), only the last one counts, so no segment is blank. A token that decodes to nothing,
or to part of a character, matches nothing and resets the matcher.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Int, Int16
from torch import Tensor

#: The delimiters of arXiv 2512.01925; on Qwen's vocabulary ".\n\n" is one token.
DELIMITERS = ("\n\n", ".\n", "?\n", ".\n\n", "?\n\n")


@dataclass(frozen=True)
class DelimiterTable:
    """The matcher of one vocabulary of V tokens.

    Attributes:
        next_state: [S, V] int16, by state and token.
        accepts: [S] bool, states in which the text ends with a delimiter.
        blank: [V] bool, the token is whitespace.
        reach: length in characters of the longest delimiter.
    """

    next_state: Int16[Tensor, "states vocabulary"]
    accepts: Bool[Tensor, " states"]
    blank: Bool[Tensor, " vocabulary"]
    reach: int

    def segment_ends(self, ids: Int[Tensor, "*batch tokens"]) -> Bool[Tensor, "*batch tokens"]:
        """Where segments end.

        Args:
            ids: [..., T] int64 token ids, each row the beginning of a text.

        Returns:
            [..., T] bool, true at the last token of every delimited segment.
        """
        state = torch.zeros_like(ids)
        width = ids.shape[-1]
        next_state = self.next_state.to(ids.device)
        for lag in range(min(self.reach, width) - 1, -1, -1):
            # The state after token t - lag; before the first token it is the root.
            earlier = torch.nn.functional.pad(ids[..., : width - lag], (lag, 0))
            stepped = next_state[state, earlier].long()
            started = torch.arange(width, device=ids.device) >= lag
            state = torch.where(started, stepped, state)
        ends = self.accepts.to(ids.device)[state]
        extended = ends[..., 1:] & self.blank.to(ids.device)[ids[..., 1:]]
        ends[..., :-1] &= ~extended
        return ends


def build_delimiter_table(texts: Sequence[str], delimiters: Sequence[str] = DELIMITERS) -> DelimiterTable:
    """Build the matcher of a vocabulary.

    Args:
        texts: V texts, one per token id; "" for a token without one.
        delimiters: non-empty strings that end a segment.

    Raises:
        ValueError: no delimiter, or an empty one.
    """
    if not delimiters or not all(delimiters):
        raise ValueError(f"delimiters={list(delimiters)!r}: give at least one, and none that is empty")
    states = sorted({text[:end] for text in delimiters for end in range(len(text) + 1)}, key=lambda s: (len(s), s))
    number = {state: index for index, state in enumerate(states)}
    reach = max(map(len, delimiters))

    def follow(state: str, text: str) -> str:
        for character in text:
            state += character
            while state not in number:
                state = state[1:]
        return state

    next_state = torch.zeros(len(states), len(texts), dtype=torch.int16)
    relevant = set("".join(delimiters))
    for token, text in enumerate(texts):
        # A token whose last character is in no delimiter leads back to the root.
        if not text or text[-1] not in relevant:
            continue
        for state, index in number.items():
            next_state[index, token] = number[follow(state if len(text) < reach else "", text[-reach:])]
    return DelimiterTable(
        next_state=next_state,
        accepts=torch.tensor([state.endswith(tuple(delimiters)) for state in states]),
        blank=torch.tensor([bool(text) and text.isspace() for text in texts], dtype=torch.bool),
        reach=reach,
    )
