"""Whether a tokenizer can write a marker, and whether its chat template leaves thinking open."""

from typing import TYPE_CHECKING

from omegaconf import DictConfig, OmegaConf

from verl_softthink.config.messages import shown
from verl_softthink.config.settings import PhaseSettings
from verl_softthink.files.checkpoint import chat_text
from verl_softthink.thinking.marker import MAX_MARKER, MAX_TEXT_BYTES, token_ids
from verl_softthink.thinking.vocabulary import token_writer

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

#: A user's message that no template writes by itself.
_QUESTION = "A question of nobody?"


def marker_tokens(tokenizer: "PreTrainedTokenizerBase", marker: str | list[int], model: str) -> list[int]:
    """The token ids of ``softthink.phase.end_of_thinking``; a text must survive encoding and decoding.

    Args:
        model: name of the model, for the message.

    Raises:
        ValueError: naming the tokens it becomes.
    """
    return checked_tokens("end_of_thinking", marker, tokenizer, model, MAX_MARKER)


def check_text_marker(marker: str, tokenizer: "PreTrainedTokenizerBase") -> None:
    """A marker that is looked for in the text must be writable: its own tokens have to write it.

    Raises:
        ValueError: naming the marker, its tokens and what they write.
    """
    encoded = marker.encode()
    if len(encoded) > MAX_TEXT_BYTES:
        raise ValueError(
            f"softthink.phase.end_of_thinking={shown(marker)} is {len(encoded)} bytes long; use at most "
            f"{MAX_TEXT_BYTES}"
        )
    ids = token_ids(tokenizer, marker)
    written = b"".join(map(token_writer(tokenizer), ids))
    if encoded not in written:
        raise ValueError(
            f"softthink.phase.end_of_thinking={shown(marker)}: the tokenizer cannot produce it: it becomes "
            f"{shown(ids)}, which writes {shown(written.decode(errors='replace'))}; use a text that this "
            "tokenizer can write"
        )


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
            f"softthink.phase.{key}={shown(value)}: the tokenizer of {model} cannot produce it: it becomes "
            f"{shown(ids)}, which reads {shown(text)}; use a text of this model, or add the token to the tokenizer"
        )
    if not 1 <= len(ids) <= longest:
        raise ValueError(f"softthink.phase.{key}={shown(value)} is {len(ids)} tokens long; use 1 to {longest} tokens")
    foreign = [token for token in ids if not 0 <= token < len(tokenizer)]
    if foreign:
        raise ValueError(
            f"softthink.phase.{key}={shown(value)}: token ids {shown(foreign)} are outside the tokenizer's "
            f"{len(tokenizer)}; give ids of this model"
        )
    return ids


def marker_problems(config: DictConfig, phase: PhaseSettings) -> list[str]:
    """Why responses of the configured model cannot end thinking with the configured marker; empty when they can."""
    model, marker = config.actor_rollout_ref.model, phase.end_of_thinking
    try:
        tokenizer = load_tokenizer(config)
        marker_tokens(tokenizer, marker, str(model.path))
        if phase.marker_text:
            check_text_marker(phase.marker_text, tokenizer)
    except ValueError as error:
        return [str(error)]
    if model.get("custom_chat_template"):
        tokenizer.chat_template = model.custom_chat_template
    arguments = OmegaConf.to_container(config.data.get("apply_chat_template_kwargs") or OmegaConf.create())
    turn = closing_turn(tokenizer, marker, **arguments)
    if turn is None:
        return []
    return [
        f"softthink.phase.end_of_thinking={marker!r} stands in every prompt already: with data."
        f"apply_chat_template_kwargs={arguments} the chat template begins the model's turn with {turn!r}, so no "
        "response would think and then end thinking; set +data.apply_chat_template_kwargs.enable_thinking=True if the "
        "template knows it, give actor_rollout_ref.model.custom_chat_template one that leaves thinking open, or name "
        "a marker that responses write"
    ]


def require_open_turn(tokenizer: "PreTrainedTokenizerBase", marker: str | list[int], model: str) -> None:
    """The same for a command that renders prompts with a checkpoint's own template.

    Raises:
        ValueError: naming the checkpoint, what its template writes and the fix.
    """
    if (turn := closing_turn(tokenizer, marker)) is not None:
        raise ValueError(
            f"{model}: its chat template begins the model's turn with {turn!r}, so that the end-of-thinking marker "
            f"{marker!r} stands in every prompt already; save a template that leaves thinking open, or name a marker "
            "that responses write"
        )


def closing_turn(tokenizer: "PreTrainedTokenizerBase", marker: str | list[int], **arguments) -> str | None:
    """What the chat template begins the model's turn with, where this holds the marker; None where thinking is open.

    Args:
        marker: text or ids of the end-of-thinking marker.
        arguments: further arguments of the template, such as ``enable_thinking``.

    Raises:
        ValueError: the template is damaged.
    """
    if tokenizer.chat_template is None:
        return None
    prompt = chat_text(tokenizer, [{"role": "user", "content": _QUESTION}], **arguments)
    # What stands before the question, such as a system message that shows the marker, closes nothing.
    turn = prompt.rpartition(_QUESTION)[2]
    return turn if (marker if isinstance(marker, str) else tokenizer.decode(marker)) in turn else None


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
