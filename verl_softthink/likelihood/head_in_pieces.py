"""The output head taken in pieces, so that the logits of a long batch are never held at once.

The logits of all positions, [T, V], are the largest tensor of a training step, and their gradient is a second one.
Everything that is asked of them is one number a position: here the head computes, for a piece of positions at a time,

    log_prob   log softmax(logits / T_answer)[next token], as verl's own engine scores tokens
    entropy    of the same distribution, if asked for
    density    of the action that the logits score, 0 where they score none

and returns these three in place of the logits. The backward pass computes each piece's logits again. All of it happens
inside the head's own forward, where sharded weights are gathered; arithmetic on the logits is float32.
"""

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from verl_softthink.likelihood.head_request import HeadRequest
from verl_softthink.likelihood.scoring import log_density


class HeadInPieces:
    """Replaces the forward of an output head for the forward passes that ask for it.

    Args:
        head: the model's output embedding.
    """

    def __init__(self, head: nn.Linear):
        self._head = head
        self._stock = head.forward
        self._request: HeadRequest | None = None
        head.forward = self._forward

    def is_on(self, head: nn.Module) -> bool:
        """Whether that very module is the one taken in pieces, so that nothing wraps it."""
        return head is self._head

    def ask(self, request: HeadRequest | None) -> None:
        """What the next forward pass shall return; None for its logits."""
        self._request = request

    def _forward(self, hidden: Tensor) -> Tensor:
        request, self._request = self._request, None
        if request is None:
            return self._stock(hidden)
        weight, bias = self._head.weight, self._head.bias
        rows = hidden.reshape(-1, hidden.shape[-1])[request.places]
        scores = torch.cat(
            [
                checkpoint(
                    _score, rows[start : start + request.at_once], weight, bias, request, start, use_reentrant=False
                )
                for start in range(0, len(rows), request.at_once)
            ]
        )
        out = scores.new_zeros(hidden.shape[:-1].numel(), scores.shape[1]).index_copy(0, request.places, scores)
        return out.view(*hidden.shape[:-1], scores.shape[1])


def _score(hidden: Tensor, weight: Tensor, bias: Tensor | None, request: HeadRequest, start: int) -> Tensor:
    """[C, 3] of the piece that begins at packed position ``start``, from its hidden states [C, H]."""
    logits = nn.functional.linear(hidden, weight, bias)
    with torch.autocast(logits.device.type, enabled=False):
        piece = slice(start, start + len(logits))
        tempered = logits.float() / request.temperature[piece, None]
        normaliser = tempered.logsumexp(-1)
        log_prob = tempered.gather(-1, request.labels[piece, None])[:, 0] - normaliser
        entropy = torch.zeros_like(log_prob)
        if request.entropy:
            entropy = normaliser - (tempered.softmax(-1) * tempered).sum(-1)
        bounds = torch.tensor([start, start + len(logits)], device=request.rows.device)
        first, last = torch.searchsorted(request.rows, bounds).tolist()
        mine = torch.arange(first, last, device=request.rows.device)
        at = request.rows[mine] - start
        density = torch.zeros_like(log_prob)
        if len(mine):
            density = density.index_copy(0, at, log_density(logits, at, request.drawn[mine], request.settings))
    return torch.stack((log_prob, entropy, density), dim=-1)


def check_head(head: nn.Module, config: object) -> None:
    """Check that the logits are the head's output and nothing else.

    Raises:
        ValueError: naming what is in the way.
    """
    key = "softthink.likelihood.positions_at_once"
    text = config.get_text_config()
    for name, neutral in (("final_logit_softcapping", None), ("logits_scaling", 1.0), ("logit_scale", 1.0)):
        value = getattr(text, name, neutral)
        if value not in (None, neutral):
            raise ValueError(
                f"{key} is set, but {config.model_type} changes its logits after the head ({name}={value}); set it to "
                "null"
            )
    # FSDP 2 gives the head a class of its own, which computes what nn.Linear does.
    if not isinstance(head, nn.Linear) or type(head).forward is not nn.Linear.forward:
        raise ValueError(f"{key} is set, but the output head is a {type(head).__name__}; set it to null")
