"""verl's Ulysses attention on a CPU: its own exchange of heads for positions around scaled dot-product attention.

verl puts the exchange around transformers' flash attention, which needs a GPU; here that one call is replaced by what
it computes, and the rest is verl's. ``ATTENTION`` is the attention implementation to ask for. For tests only.
"""

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface, AttentionMaskInterface
from verl.models.transformers import monkey_patch

ATTENTION = "ulysses_on_cpu"


def _packed_attention(
    query: Tensor, key: Tensor, value: Tensor, attention_mask: None, query_length: int, *, position_ids: Tensor, **_
) -> Tensor:
    """[1, T, heads, D] causal attention within each packed sequence; one begins wherever positions begin at 0."""
    sequence = (position_ids[0] == 0).cumsum(0)
    mask = (sequence[:, None] == sequence) & torch.ones(len(sequence), len(sequence)).bool().tril()
    query, key, value = (part.transpose(1, 2) for part in (query, key, value))
    return scaled_dot_product_attention(query, key, value, attn_mask=mask, enable_gqa=True).transpose(1, 2)


def _attention(module, query, key, value, attention_mask, **kwargs):
    query, key, value = (part.transpose(1, 2) for part in (query, key, value))
    out = monkey_patch._ulysses_flash_attention_forward(
        query, key, value, attention_mask, query.shape[1], position_ids=kwargs["position_ids"]
    )
    return out, None


monkey_patch._flash_attention_forward = _packed_attention
AttentionInterface.register(ATTENTION, _attention)
# As flash attention: no mask, the positions tell the sequences apart.
AttentionMaskInterface.register(ATTENTION, lambda **kwargs: None)
