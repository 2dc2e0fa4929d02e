"""How one token is written on a page: everything visible, nothing that could reorder or break the text around it."""

import unicodedata
from collections.abc import Callable
from functools import cache

REPLACEMENT = "\N{REPLACEMENT CHARACTER}"
#: Whitespace has marks of its own; every other invisible character is written as an escape.
_VISIBLE = {" ": "␣", "\n": "⏎", "\r": "␍", "\t": "⇥"}
_INVISIBLE_CATEGORIES = frozenset({"Cc", "Cf", "Cn", "Co", "Cs", "Zl", "Zp", "Zs"})
_DOTTED_CIRCLE = "◌"


def visible(text: str) -> str:
    """``text`` with whitespace marked, control and direction characters escaped, and a base for a lone accent."""
    shown = "".join(_VISIBLE.get(character) or _escape_invisible(character) for character in text)
    return _DOTTED_CIRCLE + shown if shown and unicodedata.category(shown[0]).startswith("M") else shown


def _escape_invisible(character: str) -> str:
    if unicodedata.category(character) in _INVISIBLE_CATEGORIES:
        return f"\\u{{{ord(character):x}}}"
    return character


def token_writer(tokenizer) -> Callable[[int], str]:
    """A function from token id to its visible text.

    A token that is not valid UTF-8 alone, a piece of a longer character, is written as its bytes; an id that the
    tokenizer does not know (padding of the embedding table) as its number.

    Args:
        tokenizer: a Hugging Face tokenizer.
    """

    @cache
    def write(token_id: int) -> str:
        piece = tokenizer.convert_ids_to_tokens(token_id)
        if piece is None:
            return f"⟨id {token_id}⟩"
        text = tokenizer.decode([token_id], skip_special_tokens=False, clean_up_tokenization_spaces=False)
        if REPLACEMENT in text:
            return f"⟨{_raw_bytes(piece)}⟩"
        return visible(text) if text else f"⟨{visible(piece)}⟩"

    return write


@cache
def _byte_of_character() -> dict[str, int]:
    from transformers.convert_slow_tokenizer import bytes_to_unicode

    return {character: byte for byte, character in bytes_to_unicode().items()}


def _raw_bytes(piece: str) -> str:
    """Bytes of a byte-level BPE vocabulary entry in hexadecimal; an entry in another alphabet as it is."""
    table = _byte_of_character()
    if all(character in table for character in piece):
        return " ".join(f"{table[character]:02X}" for character in piece)
    return visible(piece)
