"""What the tokens of a vocabulary write inside a text, and which token writes a text."""

import re
from collections.abc import Callable, Mapping
from itertools import count
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_BYTE_PIECE = re.compile(r"<0x([0-9A-Fa-f]{2})>")


def vocabulary_texts(tokenizer: "PreTrainedTokenizerBase") -> list[str]:
    """The text of every token of the vocabulary, each decoded by itself."""
    ids = [[token] for token in range(len(tokenizer))]
    return tokenizer.batch_decode(ids, skip_special_tokens=False, clean_up_tokenization_spaces=False)


def token_bytes(tokenizer: "PreTrainedTokenizerBase", vocabulary: int) -> list[bytes]:
    """``token_writer`` of every token id below ``vocabulary``, V of the model's logits."""
    write = token_writer(tokenizer)
    known = min(vocabulary, len(tokenizer))
    return [write(token_id) for token_id in range(known)] + [b""] * (vocabulary - known)


def token_writer(tokenizer: "PreTrainedTokenizerBase") -> Callable[[int], bytes]:
    """What a token id writes inside a text, as a function; nothing for an id that the tokenizer does not know.

    Exact for byte-level vocabularies (GPT-2, Llama 3, Qwen) and for byte-fallback pieces (SentencePiece), also where a
    token is not valid UTF-8 alone. Other tokens are read from the tokenizer's own decoding after an anchor token,
    which assumes that only the first token of a text is written differently: not so for a tokenizer that cleans up
    spaces around punctuation.

    Args:
        tokenizer: a Hugging Face tokenizer.

    Raises:
        ValueError: for a tokenizer of another library.
    """
    if not hasattr(tokenizer, "added_tokens_decoder"):
        raise ValueError(
            f"{type(tokenizer).__name__} is no tokenizer of transformers, so that what its tokens write is not known; "
            "set softthink.phase.match=tokens, or load the model with tokenizer_mode=hf"
        )
    alphabet = _byte_alphabet() if _is_byte_level(tokenizer) else None
    added = {token_id: token.content for token_id, token in tokenizer.added_tokens_decoder.items()}
    anchor = next(token_id for token_id in count() if token_id not in added)
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


def token_finder(tokenizer: "PreTrainedTokenizerBase") -> Callable[[bytes], int | None]:
    """The inverse of ``token_writer``: an ordinary token that writes exactly these bytes, as a function.

    None where there is none; added tokens are never given.
    """
    write, added = token_writer(tokenizer), tokenizer.added_tokens_decoder
    letters = {byte: letter for letter, byte in _byte_alphabet().items()} if _is_byte_level(tokenizer) else None

    def find(written: bytes) -> int | None:
        for piece in _pieces(written, letters):
            token_id = tokenizer.convert_tokens_to_ids(piece)
            if token_id is not None and token_id not in added and write(token_id) == written:
                return token_id
        return None

    return find


def _pieces(written: bytes, letters: Mapping[int, str] | None) -> list[str]:
    """How vocabularies name a token that writes these bytes: GPT-2's letters, SentencePiece, WordPiece, a byte."""
    if letters is not None:
        return ["".join(letters[byte] for byte in written)]
    pieces = [f"<0x{written[0]:02X}>"] if len(written) == 1 else []
    try:
        text = written.decode()
    except UnicodeDecodeError:
        return pieces
    return [text, text.replace(" ", "▁"), f"##{text}", *pieces]


def _is_byte_level(tokenizer: "PreTrainedTokenizerBase") -> bool:
    # A tokenizer written in Python has no backend, and its decoding is asked for every token.
    decoder = getattr(getattr(tokenizer, "backend_tokenizer", None), "decoder", None)
    return decoder is not None and "ByteLevel" in repr(decoder)


def _byte_alphabet() -> dict[str, int]:
    from transformers.convert_slow_tokenizer import bytes_to_unicode

    return {character: byte for byte, character in bytes_to_unicode().items()}
