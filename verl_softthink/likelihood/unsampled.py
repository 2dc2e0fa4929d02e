"""Tokens that no rollout draws: verl masks their logits in vLLM, and training masks the same ones.

verl's server sets two kinds of logits to -inf: of ids beyond the tokenizer, with which a vocabulary is padded to a
round number, and of the placeholders of images and videos. verl's actor leaves them as they are. Where such rows have
mass, a density over the vocabulary would have another normaliser than the rollout's, and a mean embedding another mean.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from verl.workers.rollout.utils import get_vision_placeholder_token_ids

#: Of probability 0 at any temperature, and finite: an entropy multiplies it by that probability.
MASKED_LOGIT = -1e9


@dataclass(frozen=True)
class Unsampled:
    """Which of V tokens a rollout never draws.

    Attributes:
        length: ids from here on.
        placeholders: ids before it.
    """

    length: int
    placeholders: tuple[int, ...] = ()

    @classmethod
    def of_model(cls, model_config, vocabulary: int) -> "Unsampled":
        """Those of verl's server for this model.

        Args:
            model_config: verl's ``HFModelConfig``; one without a tokenizer masks nothing.
            vocabulary: V.
        """
        tokenizer = model_config.tokenizer
        length = vocabulary if tokenizer is None else min(len(tokenizer), vocabulary)
        placeholders = get_vision_placeholder_token_ids(model_config.processor)
        return cls(length, tuple(token for token in placeholders if token < length))

    def mask_(self, logits: Tensor) -> Tensor:
        """Mask logits [..., V] in place, as verl's own scaling does; their gradient is 0."""
        lowest = max(MASKED_LOGIT, torch.finfo(logits.dtype).min)
        if self.length < logits.shape[-1]:
            logits[..., self.length :] = lowest
        if self.placeholders:
            logits.index_fill_(-1, torch.tensor(self.placeholders, device=logits.device), lowest)
        return logits
