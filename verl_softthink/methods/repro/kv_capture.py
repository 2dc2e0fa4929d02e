"""Capture the keys and values of one forward pass, so that answers can be scored after any prefix of its sequences.

There are three exact ways to score an answer of A tokens after k + 2 prefixes of a response of T tokens:

* one forward pass per prefix, as published: about (k + 2) / 2 times the cost of the response;
* the answers appended to the response in one row with a block mask: T + kA tokens, but a T x T mask replaces the causal
  kernels, packed batches need a different one, and the cuts must be known before the pass that gives the entropies;
* what is done here: the ordinary pass over the responses leaves the keys and values that it computes anyway, and a
  second, small forward pass over all answer tokens attends to prefixes of them. The cost is T + kA tokens as well. The
  long part runs on the kernels (flash, sdpa, packed or padded) of an ordinary pass and gives bit-identical log-probs,
  so it *is* verl's old-log-prob pass. The cuts follow from the entropies of that same pass. Soft positions need no
  special treatment: their keys are those of the mixtures that the model read. Answers can be split over several
  forward passes at no extra cost when memory is short.

The price is memory: the keys and values of one micro-batch are held until its answers are scored, 2 x layers x
key-value heads x head size numbers per token (28 KiB for Qwen2-1.5B in bf16, a tenth of the token's logits).

It works on every Hugging Face model that calls its attention through transformers' attention interface. Sliding windows
and softcapping are applied to answers as the model applies them; anything else is refused by name.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from verl_softthink.methods.repro.answer_attention import AnswerAttention

#: Arguments of an attention call that change its result in ways that the attention of answers does not reproduce.
_REFUSED_ARGUMENTS = ("s_aux", "position_bias", "cache")
_KNOWN_LAYERS = ("full_attention", "sliding_attention")


class KVCapture:
    """Intercepts a model's attention while keys and values are captured and answers are scored.

    Args:
        config: the Hugging Face configuration of the model.

    Raises:
        ValueError: when answers cannot be scored exactly under this configuration.
    """

    def __init__(self, config: object):
        self._config = config.get_text_config()
        self.implementation = self._config._attn_implementation
        check_attention(self._config)
        self._layers: list[tuple[Tensor, Tensor, int | None]] = []
        self._answers: AnswerAttention | None = None
        self._next_layer = 0

    @contextmanager
    def capturing(self) -> Iterator[None]:
        """Capture the keys and values of the forward pass inside the block, and release them at its end."""
        from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

        original = ALL_ATTENTION_FUNCTIONS[self.implementation]
        # Overrides the registered function in the instance that all models share.
        ALL_ATTENTION_FUNCTIONS[self.implementation] = self._attend_with(original)
        try:
            yield
        finally:
            del ALL_ATTENTION_FUNCTIONS[self.implementation]
            self._layers.clear()

    def score(self, module: nn.Module, answers: AnswerAttention, ids: Tensor, positions: Tensor) -> Tensor:
        """Logits of answer tokens after their prefixes; call it inside ``capturing``, after the responses' pass.

        Args:
            module: the model, as the captured pass called it.
            answers: what each answer token may attend to.
            ids: [M] int64 answer tokens.
            positions: [M] int64 their position ids.

        Returns:
            [M, V].
        """
        self._check_layers()
        self._answers, self._next_layer = answers, 0
        try:
            # transformers passes a four-dimensional mask on as it is; answers use their own instead.
            output = module(
                input_ids=ids[None],
                attention_mask=torch.zeros(1, 1, 1, 1, dtype=torch.bool, device=ids.device),
                position_ids=positions[None],
                use_cache=False,
            )
        finally:
            self._answers = None
        return output.logits[0]

    def _attend_with(self, original: Callable) -> Callable:
        def attend(module, query, key, value, attention_mask, **arguments):
            if self._answers is not None:
                prefix_key, prefix_value, window = self._layers[self._next_layer]
                self._next_layer += 1
                softcap = arguments.get("softcap") if self.implementation != "sdpa" else None
                return (
                    self._answers.attend(
                        query, key, value, prefix_key, prefix_value, window, arguments.get("scaling"), softcap
                    ),
                    None,
                )
            for name in _REFUSED_ARGUMENTS:
                if arguments.get(name) is not None:
                    raise ValueError(
                        f"RePro: {type(module).__name__} calls its attention with {name}, which cannot be "
                        "reproduced for answers: this architecture is not supported; remove repro from +softthink"
                    )
            self._layers.append((key, value, arguments.get("sliding_window")))
            return original(module, query, key, value, attention_mask, **arguments)

        return attend

    def _check_layers(self) -> None:
        """Check that every layer went through the interface, with windows where the configuration has them."""
        layers = self._config.num_hidden_layers
        if len(self._layers) != layers:
            raise ValueError(
                f"RePro: {len(self._layers)} of {layers} layers of {self._config.model_type} called transformers' "
                "attention interface, so answers cannot be scored: this architecture is not supported; remove repro "
                "from +softthink"
            )
        types = getattr(self._config, "layer_types", None) or []
        for number, (kind, (_, _, window)) in enumerate(zip(types, self._layers, strict=False)):
            if (kind == "sliding_attention") != (window is not None):
                raise ValueError(
                    f"RePro: layer {number} of {self._config.model_type} is {kind!r}, but was called with "
                    f"sliding_window={window!r}: its mask is not known; remove repro from +softthink"
                )


def check_attention(config: object) -> None:
    """Check that the attention of a (text) configuration can be reproduced for answers.

    Raises:
        ValueError: naming what cannot be reproduced, and the fix.
    """
    if config._attn_implementation == "eager":
        raise ValueError(
            "actor_rollout_ref.model.override_config.attn_implementation='eager' does not go through transformers' "
            "attention interface, which RePro needs; set it to sdpa, flash_attention_2 or flex_attention"
        )
    other = set(getattr(config, "layer_types", None) or []) - set(_KNOWN_LAYERS)
    if other:
        raise ValueError(
            f"RePro: {config.model_type} has layers of type {', '.join(sorted(other))}, which have no keys to "
            "capture or see other tokens than a causal layer does: this architecture is not supported; remove repro "
            "from +softthink"
        )
