"""Which keys a layer's queries attend to: what the reduction assumes, checked against what the model was given.

The reduction assumes causal attention within each sequence, over a sliding window if the layer has one. A layer that
does anything else is refused by name rather than measured wrongly.
"""

from collections.abc import Mapping

import torch
from jaxtyping import Float, Int
from torch import Tensor

from verl_softthink.methods.attnrl.reduction import LayerAttention
from verl_softthink.methods.attnrl.steps import SteppedSequence

#: Keywords of Hugging Face's attention functions that do not change the scores or are handled below.
KNOWN_KEYWORDS = frozenset(
    {
        *("dropout", "scaling", "sliding_window", "softcap", "is_causal", "position_ids", "cache_position"),
        *("cu_seq_lens_q", "cu_seq_lens_k", "max_length_q", "max_length_k", "seq_idx", "deterministic"),
        *("use_cache", "output_attentions", "output_hidden_states", "return_dict", "num_items_in_batch"),
    }
)
#: What to do with a model whose attention cannot be measured.
_BY_ENTROPY = (
    "set softthink.attnrl.branching=entropy and softthink.attnrl.attention_filter=false to train this model without it"
)
#: Rows of a mask compared at a time.
_ROWS = 256


def layer_attention(
    module: torch.nn.Module, query: Float[Tensor, "B H T D"], key: Float[Tensor, "B G K D"], keywords: Mapping
) -> LayerAttention:
    """How a layer scores keys, from the arguments of its attention function.

    Args:
        module: the layer's attention module.
        query, key: [B, H, T, D] and [B, G, K, D], as the attention function gets them; K must equal T.
        keywords: the function's keyword arguments.

    Raises:
        ValueError: the layer does something that cannot be measured.
    """
    name = type(module).__name__
    for keyword, value in keywords.items():
        if keyword not in KNOWN_KEYWORDS and value is not None:
            raise ValueError(
                f"{name} calls its attention with {keyword}={_short(value)}, which forward context influence does not "
                f"cover; {_BY_ENTROPY}"
            )
    if keywords.get("dropout"):
        raise ValueError(f"{name} has dropout={keywords['dropout']}: call model.eval() before measuring influence")
    if not (keywords.get("is_causal") if keywords.get("is_causal") is not None else getattr(module, "is_causal", True)):
        raise ValueError(f"{name} is not causal; influence on later steps needs a decoder-only model")
    if key.shape[2] != query.shape[2]:
        raise ValueError(
            f"{name} has {key.shape[2]} keys for {query.shape[2]} queries: pass whole sequences, without "
            "past_key_values"
        )
    chunk = getattr(getattr(module, "config", None), "attention_chunk_size", None)
    if chunk is not None:
        raise ValueError(
            f"{name}: attention_chunk_size={chunk} is not a sliding window, and forward context influence does not "
            f"cover it; {_BY_ENTROPY}"
        )
    implementation = getattr(getattr(module, "config", None), "_attn_implementation", None)
    if keywords.get("softcap") is not None and implementation == "sdpa":
        raise ValueError(
            f"{name}: attn_implementation='sdpa' leaves out the soft-cap of {keywords['softcap']} that the model was "
            "trained with; set actor_rollout_ref.model.override_config.attn_implementation to eager, flex_attention or "
            "flash_attention_2"
        )
    scaling = keywords.get("scaling")
    return LayerAttention(
        scaling=query.shape[-1] ** -0.5 if scaling is None else scaling,
        window=keywords.get("sliding_window"),
        softcap=keywords.get("softcap"),
    )


def require_own_keys(
    mask: object,
    sequence: SteppedSequence,
    window: int | None,
    position_ids: Int[Tensor, "B T"] | None,
    width: int,
) -> None:
    """Check that the queries of a sequence attend to its own keys up to themselves, and to no others.

    Args:
        mask: what the attention function was given: None, [B, T] (FlashAttention), [B, 1 or H, T, T] or a block mask.
        sequence: its place in the batch.
        window: of the layer.
        position_ids: [B or 1, T] if the model passes them on; they tell packed sequences apart.
        width: T, columns of the batch.

    Raises:
        ValueError: the batch is laid out otherwise.
    """
    start, end, row = sequence.start, sequence.end, sequence.row
    if end > width:
        raise ValueError(f"{sequence.place} ends at column {end}, but the batch has {width} columns")
    if isinstance(mask, Tensor) and mask.dim() == 4:
        _require_causal(mask[min(row, len(mask) - 1)], sequence, window)
    elif isinstance(mask, Tensor) and mask.dim() == 2:
        if not bool(mask[row, start:end].all()) or bool(mask[row, :start].any()):
            raise ValueError(f"{sequence.place} does not match attention_mask[{row}]: give the columns of its ones")
    elif start > 0 and mask is None and position_ids is not None:
        positions = position_ids[min(row, len(position_ids) - 1)]
        if int(positions[start]) != 0:
            raise ValueError(
                f"{sequence.place} starts with position id {int(positions[start])}: packed sequences start at 0"
            )


def _require_causal(mask: Tensor, sequence: SteppedSequence, window: int | None) -> None:
    """``mask`` is [1 or H, T, T]: bool, True where a key is visible, or added to the scores, 0 where it is."""
    start, end = sequence.start, sequence.end
    columns = torch.arange(mask.shape[-1], device=mask.device)
    for first in range(start, end, _ROWS):
        rows = torch.arange(first, min(first + _ROWS, end), device=mask.device)[:, None]
        expected = (columns <= rows) & (columns >= start)
        if window is not None:
            expected &= columns > rows - window
        part = mask[:, first : first + len(rows)]
        seen = part if part.dtype == torch.bool else part == 0
        if not torch.equal(seen, expected.expand_as(seen)):
            raise ValueError(
                f"{sequence.place}: the layer's attention mask is not causal attention within the sequence"
                f"{'' if window is None else f' and a window of {window}'}; give the sequence's own columns, and a "
                "model of full or sliding-window attention"
            )


def _short(value: object) -> str:
    return f"a tensor of shape {list(value.shape)}" if isinstance(value, Tensor) else repr(value)
