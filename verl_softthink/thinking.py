"""Where thinking ends: the end-of-thinking marker as token ids, its place in a response, and the texts of a vocabulary.

Rollout and methods share these, so that all of them mean the same position.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from omegaconf import DictConfig
from torch import Tensor

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

#: Longest end-of-thinking marker, in tokens.
MAX_MARKER = 16


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
