"""Keys and values of one forward pass, kept so that answers can be scored after any prefix of its sequences.

How to score k + 2 prefixes of a response of T tokens with an answer of A tokens, three exact ways:

* one forward pass per prefix, as published: about (k + 2) / 2 times the cost of the response;
* the answers appended to the response in one row with a block mask: T + kA tokens, but a T x T mask takes the place of
  the causal kernels, packed batches need another one, and the cuts must be known before the pass that gives entropies;
* what is done here: the ordinary pass over the responses keeps the keys and values that it computes anyway, and a
  second small forward pass over all answer tokens attends to the prefixes among them. The cost is T + kA tokens too.
  The long part runs on the very kernels (flash, sdpa, packed or padded) of an ordinary pass and gives bit-identical
  log-probs, so it *is* verl's old-log-prob pass; the cuts follow from that pass's own entropies; soft positions need
  no care, for their keys are those of the mixtures that were fed; and answers can be split over several forward passes
  at no cost when memory is short.

The price is memory: keys and values of one micro-batch stay until its answers are scored, 2 x layers x key-value heads
x head size numbers a token (28 KiB for Qwen2-1.5B in bf16, a tenth of the token's logits).

It works on every Hugging Face model that calls its attention through transformers' attention interface. Sliding windows
and softcapping are applied to answers as the model applies them; anything else is refused by name.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from verl_softthink.methods.repro.answer_attention import AnswerAttention

#: Arguments of an attention call that change its result in a way that answers do not repeat.
_REFUSED_ARGUMENTS = ("s_aux", "position_bias", "cache")
_KNOWN_LAYERS = ("full_attention", "sliding_attention")


class KeptKeys:
    """Stands between a model and its attention function while a pass is kept or answers are scored.

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
    def keeping(self) -> Iterator[None]:
        """Keep keys and values of the forward passes inside, until the block ends."""
        from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

        original = ALL_ATTENTION_FUNCTIONS[self.implementation]
        # An override of the instance that all models share, put in front of the registered function.
        ALL_ATTENTION_FUNCTIONS[self.implementation] = self._attend_with(original)
        try:
            yield
        finally:
            del ALL_ATTENTION_FUNCTIONS[self.implementation]
            self._layers.clear()

    def score(self, module: nn.Module, answers: AnswerAttention, ids: Tensor, positions: Tensor) -> Tensor:
        """Logits of answer tokens after their prefixes; call it inside ``keeping``, after the responses' pass.

        Args:
            module: the model, as the kept pass called it.
            answers: what each answer token may attend to.
            ids: [M] int64 answer tokens.
            positions: [M] int64 their position ids.

        Returns:
            [M, V].
        """
        self._check_layers()
        self._answers, self._next_layer = answers, 0
        try:
            # A mask of four dimensions is taken as it is: none is built, and answers bring their own.
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
                kept_key, kept_value, window = self._layers[self._next_layer]
                self._next_layer += 1
                softcap = arguments.get("softcap") if self.implementation != "sdpa" else None
                return (
                    self._answers.attend(
                        query, key, value, kept_key, kept_value, window, arguments.get("scaling"), softcap
                    ),
                    None,
                )
            for name in _REFUSED_ARGUMENTS:
                if arguments.get(name) is not None:
                    raise ValueError(
                        f"RePro: {type(module).__name__} calls its attention with {name}, which answers cannot repeat: "
                        "this architecture is not supported; remove repro from +softthink"
                    )
            self._layers.append((key, value, arguments.get("sliding_window")))
            return original(module, query, key, value, attention_mask, **arguments)

        return attend

    def _check_layers(self) -> None:
        """Every layer must have gone through the interface, and windows must be where the configuration has them."""
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
    """Check that a (text) configuration's attention can be repeated for answers.

    Raises:
        ValueError: naming what cannot, and the fix.
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
            "keep or see other tokens than a causal layer does: this architecture is not supported; remove repro from "
            "+softthink"
        )
