"""Where thinking ends: the marker, its place in a response, and what the tokens of a vocabulary write.

Rollout and methods share these, so that all of them mean the same position.

vocabulary.py   what a token writes, and which token writes a text
marker.py       the first end-of-thinking marker of a response
checks.py       whether a tokenizer can write a marker, and whether its chat template leaves thinking open
"""

from verl_softthink.thinking.checks import (
    check_text_marker,
    checked_tokens,
    closing_turn,
    load_tokenizer,
    marker_problems,
    marker_tokens,
    require_open_turn,
)
from verl_softthink.thinking.marker import MAX_MARKER, MAX_TEXT_BYTES, EndOfThinking, MarkerSpan, begun_part, token_ids
from verl_softthink.thinking.vocabulary import token_bytes, token_finder, token_writer, vocabulary_texts

__all__ = [
    "MAX_MARKER",
    "MAX_TEXT_BYTES",
    "EndOfThinking",
    "MarkerSpan",
    "begun_part",
    "check_text_marker",
    "checked_tokens",
    "closing_turn",
    "load_tokenizer",
    "marker_problems",
    "marker_tokens",
    "require_open_turn",
    "token_bytes",
    "token_finder",
    "token_ids",
    "token_writer",
    "vocabulary_texts",
]
