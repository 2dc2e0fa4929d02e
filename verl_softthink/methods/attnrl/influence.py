"""Forward context influence (FCI) of a Hugging Face decoder, measured during its forward pass.

    with ForwardContextInfluence(model, sequences) as influence, torch.no_grad():
        model(input_ids=..., attention_mask=...)
    influence.values[0]        # [R]: y_k of every range of the first sequence

Every attention layer of transformers gets its function from ``AttentionInterface.get_interface``. Within the block that
function is wrapped: it runs first, on unchanged arguments, and its result is returned unchanged; then queries and keys
go to the reduction. The model's output is therefore bitwise the same with sdpa, eager, Flash- and FlexAttention.
"""

from collections.abc import Callable, Iterable, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from verl_softthink.methods.attnrl.reduction import FIRST_SCORED, influence_of_layer
from verl_softthink.methods.attnrl.steps import SteppedSequence
from verl_softthink.methods.attnrl.visibility import layer_attention, require_own_keys


class ForwardContextInfluence:
    """Observes the first forward pass of one model within the block; blocks must not be nested in one process.

    Attributes:
        values: [R] float32 per sequence on the model's device, the maximum influence of every range over the observed
            layers and heads. Zero for the prompt, the first response step and the last four ranges.
    """

    def __init__(
        self,
        model: torch.nn.Module,
        sequences: Sequence[SteppedSequence],
        *,
        layers: Iterable[int] | None = None,
        heads: Iterable[int] | None = None,
    ):
        """
        Args:
            model: a decoder-only transformers model (or a wrapper around one) in evaluation mode.
            sequences: the sequences of the batch and their steps.
            layers: layer indices; all by default.
            heads: query heads in every layer; all by default.

        Raises:
            ValueError: the model has no such layer.
        """
        self._attentions = {module: module.layer_idx for module in model.modules() if _is_attention(module)}
        indices = sorted(self._attentions.values())
        if not indices:
            raise ValueError(f"{type(model).__name__} has no attention layers of transformers (modules with layer_idx)")
        self._layers = set(indices) if layers is None else set(layers)
        if unknown := sorted(self._layers - set(indices)):
            raise ValueError(
                f"layers={unknown} are not in {type(model).__name__}, which has {indices[0]}-{indices[-1]}"
            )
        self._heads = None if heads is None else list(heads)
        self.sequences = list(sequences)
        self._lengths = [torch.tensor(sequence.lengths) for sequence in self.sequences]
        self.values: list[Tensor] = []
        self._seen: set[int] = set()
        #: Masks already checked, which most layers share, with the layer's window.
        self._checked: list[tuple[object, int | None]] = []

    def __enter__(self) -> "ForwardContextInfluence":
        from transformers.modeling_utils import AttentionInterface

        self._interface, self._get_interface = AttentionInterface, AttentionInterface.get_interface
        observe = self._observe

        def get_interface(interface, *args, **kwargs) -> Callable:
            return observe(self._get_interface(interface, *args, **kwargs))

        AttentionInterface.get_interface = get_interface
        return self

    def __exit__(self, kind, error, trace) -> None:
        self._interface.get_interface = self._get_interface
        self._checked.clear()
        if kind is None and (missing := sorted(self._layers - self._seen)):
            raise ValueError(
                f"layers {missing} did not ask transformers' AttentionInterface for their attention, so their "
                "influence is unknown; run the model within the block, and use one of transformers' own decoders"
            )

    def _observe(self, attention: Callable) -> Callable:
        def observed(module, query, key, value, attention_mask, *args, **kwargs):
            output = attention(module, query, key, value, attention_mask, *args, **kwargs)
            layer = self._attentions.get(module)
            # The first pass only: a later one within the block is another method's, on other tokens.
            if layer in self._layers - self._seen:
                if args:
                    raise ValueError(f"{type(module).__name__} passes positional arguments to its attention: {args!r}")
                with torch.no_grad():
                    self._reduce(module, query, key, attention_mask, kwargs)
                self._seen.add(layer)
            return output

        return observed

    def _reduce(self, module: torch.nn.Module, query: Tensor, key: Tensor, mask: object, keywords: dict) -> None:
        layer = layer_attention(module, query, key, keywords)
        if not any(mask is known and layer.window == window for known, window in self._checked):
            for sequence in self.sequences:
                require_own_keys(mask, sequence, layer.window, keywords.get("position_ids"), query.shape[2])
            self._checked.append((mask, layer.window))
        if not self.values:
            self.values = [torch.zeros(len(lengths), device=query.device) for lengths in self._lengths]
        if self._heads is not None:
            share = query.shape[1] // key.shape[1]
            key = key[:, [head // share for head in self._heads]]
            query = query[:, self._heads]
        for values, lengths, sequence in zip(self.values, self._lengths, self.sequences, strict=True):
            columns = slice(sequence.start, sequence.end)
            found = influence_of_layer(query[sequence.row, :, columns], key[sequence.row, :, columns], lengths, layer)
            torch.maximum(values, found, out=values)


def without_answer(values: Float[Tensor, " R"], end_of_thinking: int | None) -> Float[Tensor, " R"]:
    """y_k, zeroed where no branch may start: the prompt, the first step, and everything from the end of thinking on.

    Args:
        values: [R] influence of one sequence's ranges.
        end_of_thinking: index of the range that holds the end-of-thinking marker; None without one.
    """
    zeroed = values.clone()
    zeroed[:FIRST_SCORED] = 0
    if end_of_thinking is not None:
        zeroed[end_of_thinking:] = 0
    return zeroed


def _is_attention(module: torch.nn.Module) -> bool:
    return (
        isinstance(getattr(module, "layer_idx", None), int)
        and hasattr(module, "config")
        and (hasattr(module, "num_key_value_groups") or hasattr(module, "is_causal"))
    )
