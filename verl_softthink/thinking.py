"""Where thinking ends: the marker's token ids, its place in a response, and what the tokens of a vocabulary write.

Rollout and methods share these, so that all of them mean the same position.
"""

import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from omegaconf import DictConfig
from torch import Tensor

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

#: Longest end-of-thinking marker, in tokens.
MAX_MARKER = 16
_BYTE_PIECE = re.compile(r"<0x([0-9A-Fa-f]{2})>")


def token_ids(tokenizer: "PreTrainedTokenizerBase", value: str | Sequence[int]) -> list[int]:
    """A marker as token ids, given as a text or as ids."""
    return tokenizer.encode(value, add_special_tokens=False) if isinstance(value, str) else list(value)


def marker_end(response: Sequence[int] | Tensor, marker: Sequence[int]) -> int | None:
    """Tokens of a response [T] up to and with its first end-of-thinking marker; None without one."""
    ids = response.tolist() if isinstance(response, Tensor) else list(response)
    wanted, width = list(marker), len(marker)
    for end in range(width, len(ids) + 1):
        if ids[end - width : end] == wanted:
            return end
    return None


def thinking_length(response: Sequence[int] | Tensor, marker: Sequence[int]) -> int | None:
    """Tokens of a response [T] before its first end-of-thinking marker; None without one."""
    end = marker_end(response, marker)
    return None if end is None else end - len(marker)


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
        tokenizer: a Hugging Face fast tokenizer.
    """
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


def _is_byte_level(tokenizer: "PreTrainedTokenizerBase") -> bool:
    decoder = tokenizer.backend_tokenizer.decoder
    return decoder is not None and "ByteLevel" in repr(decoder)


def _byte_alphabet() -> dict[str, int]:
    from transformers.convert_slow_tokenizer import bytes_to_unicode

    return {character: byte for byte, character in bytes_to_unicode().items()}


def marker_tokens(tokenizer: "PreTrainedTokenizerBase", marker: str | list[int], model: str) -> list[int]:
    """The token ids of ``softthink.phase.end_of_thinking``; a text must survive encoding and decoding.

    Args:
        model: name of the model, for the message.

    Raises:
        ValueError: naming the tokens it becomes.
    """
    return checked_tokens("end_of_thinking", marker, tokenizer, model, MAX_MARKER)


def checked_tokens(
    key: str, value: str | list[int], tokenizer: "PreTrainedTokenizerBase", model: str, longest: int
) -> list[int]:
    """The token ids of a setting of ``softthink.phase``, between 1 and ``longest`` of them.

    Raises:
        ValueError: naming the key, its value and the fix.
    """
    ids = token_ids(tokenizer, value)
    text = tokenizer.decode(ids)
    if isinstance(value, str) and text != value:
        raise ValueError(
            f"softthink.phase.{key}={value!r}: the tokenizer of {model} cannot produce it: it becomes "
            f"{ids}, which reads {text!r}; use a text of this model, or add the token to the tokenizer"
        )
    if not 1 <= len(ids) <= longest:
        raise ValueError(f"softthink.phase.{key}={value!r} is {len(ids)} tokens long; use 1 to {longest} tokens")
    foreign = [token for token in ids if not 0 <= token < len(tokenizer)]
    if foreign:
        raise ValueError(
            f"softthink.phase.{key}={value!r}: token ids {foreign} are outside the tokenizer's "
            f"{len(tokenizer)}; give ids of this model"
        )
    return ids


def marker_problems(config: DictConfig, marker: str | list[int]) -> list[str]:
    """Why the tokenizer of the configured model cannot produce the marker; empty when it can."""
    try:
        marker_tokens(load_tokenizer(config), marker, str(config.actor_rollout_ref.model.path))
    except ValueError as error:
        return [str(error)]
    return []


def load_tokenizer(config: DictConfig) -> "PreTrainedTokenizerBase":
    """The policy's tokenizer, as verl loads it.

    Raises:
        ValueError: naming the model and why it has none.
    """
    from verl.utils import hf_tokenizer
    from verl.utils.fs import copy_to_local

    model = config.actor_rollout_ref.model
    path = model.get("tokenizer_path") or model.path
    try:
        return hf_tokenizer(copy_to_local(path), trust_remote_code=model.get("trust_remote_code", False))
    except OSError as error:
        reason = str(error).strip().splitlines()[0]
        raise ValueError(
            f"actor_rollout_ref.model.path={path!r}: its tokenizer cannot be loaded ({reason}); give the directory of "
            "a checkpoint, or the name of one on the hub with a network"
        ) from error
