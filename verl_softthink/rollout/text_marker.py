"""The end of thinking as a text: does the text of the shown tokens end with the marker, wherever tokens begin or end?

A Knuth-Morris-Pratt automaton over the marker's bytes is run through every token of the vocabulary beforehand:

    table[s, token] = longest prefix of the marker that ends the text, given that s bytes of it did before the token

so that a step on the device is one lookup, and the text ends with the marker exactly in state len(marker).

What a token writes is exact for byte-level vocabularies (GPT-2, Llama 3, Qwen) and for byte-fallback pieces
(SentencePiece), also where a token is not valid UTF-8 alone. Other tokens are read from the tokenizer's own decoding
after an anchor token, which assumes that a token's text depends on no token before it but for being first: a
tokenizer that cleans up spaces around punctuation breaks that, and ``check_text_marker`` refuses a marker whose own
tokens do not spell it. The text begins with the first generated token.
"""

import re
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

#: Bytes of the longest text marker: bounds a table to (bytes + 1) * V int16.
MAX_TEXT_BYTES = 128
_BYTE_PIECE = re.compile(r"<0x([0-9A-Fa-f]{2})>")


def token_bytes(tokenizer, vocabulary: int) -> list[bytes]:
    """What each of ``vocabulary`` token ids writes inside a text; nothing for ids that the tokenizer does not know.

    Args:
        tokenizer: a Hugging Face fast tokenizer.
        vocabulary: V of the model's logits.
    """
    write = _writer(tokenizer)
    known = min(vocabulary, len(tokenizer))
    return [write(token_id) for token_id in range(known)] + [b""] * (vocabulary - known)


def _writer(tokenizer) -> Callable[[int], bytes]:
    alphabet = _byte_alphabet() if _is_byte_level(tokenizer) else None
    added = {token_id: token.content for token_id, token in tokenizer.added_tokens_decoder.items()}
    anchor = next(i for i in range(len(tokenizer)) if i not in added)
    before = tokenizer.decode([anchor], clean_up_tokenization_spaces=False)

    def write(token_id: int) -> bytes:
        piece = tokenizer.convert_ids_to_tokens(token_id)
        if piece is None:
            return b""
        if token_id in added:
            return added[token_id].encode()
        if alphabet is not None:
            return bytes(alphabet[character] for character in piece)
        if match := _BYTE_PIECE.fullmatch(piece):
            return bytes([int(match[1], 16)])
        text = tokenizer.decode([anchor, token_id], clean_up_tokenization_spaces=False)
        return text[len(before) :].encode()

    return write


def _is_byte_level(tokenizer) -> bool:
    decoder = tokenizer.backend_tokenizer.decoder
    return decoder is not None and "ByteLevel" in repr(decoder)


def _byte_alphabet() -> dict[str, int]:
    from transformers.convert_slow_tokenizer import bytes_to_unicode

    return {character: byte for byte, character in bytes_to_unicode().items()}


def text_marker_table(marker: bytes, texts: list[bytes]) -> Tensor:
    """[len(marker) + 1, V] int16: the automaton's state after each token, from each state before it."""
    steps = _byte_steps(marker)
    lengths = np.array([len(text) for text in texts])
    order = np.argsort(-lengths, kind="stable")
    longest = int(lengths.max(initial=0))
    table = np.repeat(np.arange(len(marker) + 1, dtype=np.int16)[:, None], len(texts), axis=1)
    for position in range(longest):
        reach = order[: int((lengths > position).sum())]
        written = np.array([texts[token][position] for token in reach], dtype=np.uint8)
        table[:, reach] = steps[table[:, reach], written[None]]
    return torch.from_numpy(table)


def _byte_steps(marker: bytes) -> np.ndarray:
    """[len(marker) + 1, 256] int16: the automaton's state after one byte."""
    steps = np.zeros((len(marker) + 1, 256), np.int16)
    steps[0, marker[0]] = 1
    # ``fallback`` is the state of the marker's text without its first byte.
    fallback = 0
    for state in range(1, len(marker) + 1):
        steps[state] = steps[fallback]
        if state < len(marker):
            steps[state, marker[state]] = state + 1
            fallback = int(steps[fallback, marker[state]])
    return steps


def check_text_marker(marker: str, ids: list[int], tokenizer) -> None:
    """The marker must be writable: its own tokens have to lead the automaton to its end.

    Raises:
        ValueError: naming the marker, its tokens and what they write.
    """
    encoded = marker.encode()
    if len(encoded) > MAX_TEXT_BYTES:
        raise ValueError(
            f"softthink.phase.end_of_thinking={marker!r} is {len(encoded)} bytes long; use at most {MAX_TEXT_BYTES}"
        )
    written = b"".join(map(_writer(tokenizer), ids))
    if not written.endswith(encoded):
        raise ValueError(
            f"softthink.phase.end_of_thinking={marker!r}: the tokenizer cannot produce it: it becomes {ids}, which "
            f"writes {written.decode(errors='replace')!r}; use a text that this tokenizer can write"
        )
