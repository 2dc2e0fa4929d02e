"""verl's FSDP engine on rows that begin alike: shared beginnings are computed once, and nothing else changes.

A batch asks for it with ``batch.extra_info["softthink_shared_prefix"] = "dedup"``. Rows of a micro-batch with a common
beginning (the prompt of a group, the prefix of a tree's leaves) then pass through the model as one sequence of their
distinct tokens, under a tree attention mask and with position ids along the tree; log-probs and entropies are handed
back a row each. Everything behind the model sees ordinary rows, so that losses, clipping, KL and every aggregation are
those of ``repeat``, and a shared token's gradient is the sum over the rows that hold it. With soft traces a position is
shared as far as rows drew the same there, to the last bit; rows of equal tokens whose draws differ share nothing
from there on.

The distinct tokens must be in one micro-batch to be shared: keep a tree's rows together
(``use_dynamic_bsz=False`` and a micro-batch of whole trees), or less is saved.
"""

import torch
from tensordict import TensorDict
from torch import Tensor
from verl.utils import tensordict_utils as tu
from verl.utils.tensordict_utils import get_non_tensor_data

from verl_softthink.likelihood.fields import SETTINGS
from verl_softthink.likelihood.prefix_tree import PrefixTree, RowTraces, check_traces, drawn_entries

#: Key of the batch's non-tensor data, one of ``MODES``; absent means "repeat".
SHARED_PREFIX = "softthink_shared_prefix"
MODES = ("repeat", "dedup")
#: Attention implementations that take a mask of any form.
IMPLEMENTATIONS = ("sdpa", "eager", "flex_attention")
#: Key in ``output_args``.
_TREE = "softthink_prefix_tree"


class SharedPrefixes:
    """A mixin in front of the soft-trace engine."""

    def prepare_model_inputs(self, micro_batch):
        if not _wanted(micro_batch):
            return super().prepare_model_inputs(micro_batch)
        config = self.module.config
        check_shared_prefix(config, micro_batch)
        if readers := self.row_readers(micro_batch):
            raise ValueError(
                f"{SHARED_PREFIX}='dedup' with {', '.join(readers)}, which reads whole rows; use "
                f"{SHARED_PREFIX}='repeat' in that pass"
            )
        traces = RowTraces.of(micro_batch)
        tree = PrefixTree.of(list(micro_batch["input_ids"].unbind()), None if traces is None else traces.symbols)
        distinct = _one_row(tree, micro_batch, {} if traces is None else traces.of_tree(tree))
        model_inputs, output_args = super().prepare_model_inputs(distinct)
        width = model_inputs["input_ids"].shape[1]
        if width != len(tree):
            raise ValueError(
                f"the engine pads {len(tree)} packed tokens to {width}, which {SHARED_PREFIX}='dedup' does not cover; "
                "set pad_to_length to null in the engine's configuration"
            )
        model_inputs["attention_mask"] = attention_mask(tree, config._attn_implementation, self.module.dtype)
        output_args[_TREE] = tree, distinct
        return model_inputs, output_args

    def prepare_model_outputs(self, output, output_args, micro_batch, logits_processor_func):
        if _TREE not in output_args:
            return super().prepare_model_outputs(output, output_args, micro_batch, logits_processor_func)
        tree, distinct = output_args[_TREE]
        # Before verl's own log-probs: it may scale the logits, and its backward pass may overwrite them.
        temperature = _temperature(distinct)
        branching = output.logits[0, tree.predecessors].float() / temperature
        drawn = drawn_entries(tree, distinct)
        model_output = super().prepare_model_outputs(output, output_args, distinct, logits_processor_func)
        # verl scores at every position the token that follows; where a branch begins that token is another row's.
        first = branching.log_softmax(-1)
        of_tokens = first.gather(-1, tree.tokens[tree.entries, None])[:, 0]
        # A draw already has its density there, under the logits that it was drawn from.
        corrections = {"log_probs": (tree.entries[~drawn], of_tokens[~drawn])}
        if "entropy" in model_output:
            corrections["entropy"] = tree.entries, torch.special.entr(first.exp()).sum(-1)
        offsets = micro_batch["input_ids"].offsets()
        for name, scores in model_output.items():
            if name not in corrections:
                raise ValueError(f"the engine returns {name!r}, which {SHARED_PREFIX}='dedup' does not cover")
            entries, values = corrections[name]
            # At each token its own score, which verl puts at the position before.
            at_token = torch.roll(scores.values(), 1).index_copy(0, entries, values.to(scores.dtype))
            rows = [_before(at_token[path]) for path in tree.paths]
            model_output[name] = torch.nested.nested_tensor_from_jagged(torch.cat(rows), offsets)
        return model_output


def check_shared_prefix(config: object, micro_batch: TensorDict) -> None:
    """Check what a model and a micro-batch need for a tree mask.

    Raises:
        ValueError: naming the key, its value and the fix.
    """
    implementation = config._attn_implementation
    if implementation not in IMPLEMENTATIONS:
        raise ValueError(
            f"{SHARED_PREFIX}='dedup' with attention {implementation!r}, which takes no tree mask: set "
            "+actor_rollout_ref.model.override_config.attn_implementation=flex_attention (GPU) or sdpa, or "
            f"{SHARED_PREFIX}='repeat'"
        )
    text = config.get_text_config()
    kinds = set(getattr(text, "layer_types", None) or ["full_attention"])
    windowed = getattr(text, "sliding_window", None) is not None and getattr(text, "layer_types", None) is None
    if kinds != {"full_attention"} or windowed or getattr(text, "attention_chunk_size", None) is not None:
        raise ValueError(
            f"{config.model_type} has layers of {', '.join(sorted(kinds))}{' with a window' if windowed else ''}: "
            f"{SHARED_PREFIX}='dedup' covers full attention only; use {SHARED_PREFIX}='repeat'"
        )
    check_traces(micro_batch)
    if micro_batch["position_ids"].dim() != 2:
        raise ValueError(f"{SHARED_PREFIX}='dedup' does not cover 3-D position ids; use a text-only model")
    for switch in ("use_fused_kernels", "distillation_use_topk", "distillation_only", "calculate_sum_pi_squared"):
        if get_non_tensor_data(micro_batch, switch, default=False):
            raise ValueError(f"batch.extra_info[{switch!r}]=True with {SHARED_PREFIX}='dedup'; set it to False")


def attention_mask(tree: PrefixTree, implementation: str, dtype: torch.dtype):
    """The tree's mask in the form of an attention implementation: bool, added to the scores, or in blocks."""
    if implementation == "flex_attention":
        from torch.nn.attention.flex_attention import create_block_mask

        member, owner, depth = tree.membership(), tree.owner, tree.depth

        def sees(batch, head, query, key):
            return member[owner[query], key] & (depth[key] <= depth[query])

        return create_block_mask(sees, 1, None, len(tree), len(tree), device=str(owner.device))
    visible = tree.visible()[None, None]
    if implementation == "sdpa":
        return visible
    return torch.zeros(visible.shape, dtype=dtype, device=visible.device).masked_fill_(~visible, torch.finfo(dtype).min)


def _wanted(micro_batch: TensorDict) -> bool:
    mode = get_non_tensor_data(micro_batch, SHARED_PREFIX, default="repeat")
    if mode not in MODES:
        raise ValueError(f"batch.extra_info[{SHARED_PREFIX!r}]={mode!r} is unknown; use one of {', '.join(MODES)}")
    return mode == "dedup"


def _one_row(tree: PrefixTree, micro_batch: TensorDict, traces: dict[str, Tensor]) -> TensorDict:
    """The micro-batch of one sequence, the tree's distinct tokens, with the settings that the engine reads."""
    row = {
        "input_ids": torch.nested.nested_tensor_from_jagged(tree.tokens, tree.tokens.new_tensor([0, len(tree)])),
        "position_ids": torch.nested.nested_tensor_from_jagged(tree.depth, tree.depth.new_tensor([0, len(tree)])),
    }
    settings = {
        name: get_non_tensor_data(micro_batch, name, default=default)
        for name, default in (("use_remove_padding", True), ("pad_token_id", 0), ("calculate_entropy", False))
    }
    scoring = get_non_tensor_data(micro_batch, SETTINGS, default=None)
    if scoring is not None:
        settings[SETTINGS] = scoring
    return tu.get_tensordict(row | traces, settings | {"temperature": _temperature(micro_batch)})


def _temperature(micro_batch: TensorDict) -> float:
    temperature = micro_batch["temperature"]
    if not isinstance(temperature, Tensor):
        return float(temperature)
    if (temperature != temperature.flatten()[0]).any():
        raise ValueError(
            f"{SHARED_PREFIX}='dedup' with temperatures {sorted(set(temperature.tolist()))}: rows that share logits "
            "share their temperature; use one for the whole batch"
        )
    return float(temperature.flatten()[0])


def _before(scores: Tensor) -> Tensor:
    """A sequence's scores one position earlier, where verl expects them; the last position scores nothing."""
    return torch.cat([scores[1:], scores.new_zeros(1)])
