"""The anchor in the likelihood engine: a mixin that reads the logits at soft positions, and changes no log-prob.

A reference pass with ``WANTED`` among its settings returns two more model outputs, ``TOKENS`` and ``LOG_PROBS``; a
training pass with ``LOSS`` adds the divergence from them to the loss.
"""

from collections.abc import Mapping

import torch
from tensordict import TensorDict
from torch import Tensor
from verl.utils.tensordict_utils import get_non_tensor_data

from verl_softthink.laws import NO_CANDIDATE
from verl_softthink.likelihood.engine import SCORED_PASS, ScoredPass
from verl_softthink.likelihood.positions import DrawnPositions
from verl_softthink.methods.thought_anchor.divergence import divergence_at, most_likely_at
from verl_softthink.methods.thought_anchor.fields import DIVERGENCE, LOG_PROBS, LOSS, TOKENS, WANTED
from verl_softthink.methods.thought_anchor.loss import anchored


class ThoughtAnchor:
    """Takes the reference's distributions, and holds the policy's near them."""

    #: A training pass is under way whose loss has the anchor's term.
    _anchoring: bool = False

    def row_readers(self, micro_batch: TensorDict) -> list[str]:
        return [*super().row_readers(micro_batch), *self._reading(micro_batch)]

    def logit_readers(self, micro_batch: TensorDict) -> list[str]:
        return [*super().logit_readers(micro_batch), *self._reading(micro_batch)]

    def _reading(self, micro_batch: TensorDict) -> list[str]:
        return ["softthink.thought_anchor"] if self._anchoring or _setting(micro_batch, WANTED) is not None else []

    def forward_step(self, micro_batch: TensorDict, loss_function, forward_only: bool):
        loss = _setting(micro_batch, LOSS)
        if loss is None or forward_only:
            return super().forward_step(micro_batch, loss_function, forward_only)
        if missing := [name for name in (TOKENS, LOG_PROBS) if name not in micro_batch]:
            raise ValueError(
                f"batch.extra_info[{LOSS!r}] is set, but the batch lacks {', '.join(missing)}, which the reference "
                "model's pass returns: set actor_rollout_ref.actor.use_kl_loss=True, so that there is one"
            )
        self._anchoring = True
        try:
            return super().forward_step(micro_batch, anchored(loss_function, **loss), forward_only)
        finally:
            self._anchoring = False

    def prepare_model_outputs(self, output, output_args, micro_batch, logits_processor_func):
        wanted = _setting(micro_batch, WANTED)
        found: dict[str, Tensor] = {}
        if self._anchoring or wanted is not None:
            # Before verl's own log-probs: it may scale the logits, and its backward pass may overwrite them.
            logits, scored = self._unsampled.mask_(output.logits), output_args[SCORED_PASS]
            with torch.autocast(logits.device.type, enabled=False):
                if self._anchoring:
                    found = divergences(logits, scored, micro_batch)
                else:
                    found = reference(logits, scored, micro_batch, wanted)
        model_output = super().prepare_model_outputs(output, output_args, micro_batch, logits_processor_func)
        model_output.update(found)
        return model_output


def reference(logits: Tensor, scored: ScoredPass, micro_batch: TensorDict, tokens: int) -> dict[str, Tensor]:
    """``TOKENS`` and ``LOG_PROBS`` of every response of a micro-batch, jagged.

    Args:
        logits: [..., V] raw logits of the micro-batch.
        scored: its drawn positions.
        micro_batch: for the lengths of its responses.
        tokens: M.
    """
    thoughts, rows = soft_positions(scored)
    offsets, vocabulary = micro_batch["response_mask"].offsets(), logits.shape[-1]
    total = int(offsets[-1])
    ids = torch.full((total, min(tokens, vocabulary)), NO_CANDIDATE, device=logits.device)
    log_probs = torch.zeros((total, min(tokens + 1, vocabulary)), device=logits.device)
    if len(thoughts):
        at = offsets[thoughts.row] + thoughts.index
        ids[at], log_probs[at] = most_likely_at(logits, rows, scored.settings.temperature, tokens)
    jagged = torch.nested.nested_tensor_from_jagged
    return {TOKENS: jagged(ids, offsets), LOG_PROBS: jagged(log_probs, offsets)}


def divergences(logits: Tensor, scored: ScoredPass, micro_batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """``DIVERGENCE`` of every response of a micro-batch, jagged, differentiable in the logits [..., V]."""
    thoughts, rows = soft_positions(scored)
    offsets = micro_batch["response_mask"].offsets()
    values = torch.zeros(int(offsets[-1]), device=logits.device)
    if len(thoughts):
        # verl's padding rows may hold another row's fields, of another length than their responses.
        there = micro_batch[TOKENS].offsets()[thoughts.row] + thoughts.index
        found = divergence_at(
            logits,
            rows,
            scored.settings.temperature,
            micro_batch[TOKENS].values()[there].long(),
            micro_batch[LOG_PROBS].values()[there].float(),
        )
        values = values.index_copy(0, offsets[thoughts.row] + thoughts.index, found.float())
    return {DIVERGENCE: torch.nested.nested_tensor_from_jagged(values, offsets)}


def soft_positions(scored: ScoredPass) -> tuple[DrawnPositions, Tensor]:
    """The positions at which mixtures were fed, and the flattened position of the logits that predict each."""
    soft = scored.scored.soft.nonzero()[:, 0]
    return scored.scored[soft], scored.rows[soft]


def _setting(micro_batch: TensorDict, key: str) -> object:
    return get_non_tensor_data(micro_batch, key, default=None)
