"""The output head computed in pieces, so that the logits of a long batch are never held at once.

The logits of all positions, [T, V], are the largest tensor of a training step, and their gradient is a second one.
Of them a step needs a few numbers a position: here the head computes, for a piece of positions at a time,

    log_prob   log softmax(logits / T_answer)[next token], as verl's own engine scores tokens
    entropy    of the same distribution, if asked for
    density    of the action that the logits score, 0 where they score none

and returns these three in place of the logits. The backward pass computes each piece's logits again. All of it happens
inside the head's own forward, where sharded weights are gathered; arithmetic on the logits is float32.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from tensordict import TensorDict
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint
from verl.utils import tensordict_utils as tu

from verl_softthink.likelihood.fields import ScoringSettings
from verl_softthink.likelihood.positions import DrawnPositions
from verl_softthink.likelihood.scoring import log_density
from verl_softthink.likelihood.unsampled import Unsampled

#: Columns of what the head returns.
LOG_PROB, ENTROPY, DENSITY = range(3)


@dataclass(frozen=True)
class HeadRequest:
    """What the head computes in one forward pass, for P positions of the packed micro-batch.

    Attributes:
        places: [P] int64, the index of each packed position in the flattened input of the head.
        labels: [P] int64, the next token.
        temperature: [P] float32, verl's answer temperature.
        rows: [N] int64, ascending: the packed position whose logits score each drawn position.
        drawn: the N drawn positions.
        settings: how they are scored.
        entropy: whether to compute the entropy.
        at_once: positions whose logits are held at a time.
        unsampled: tokens that no rollout draws.
    """

    places: Tensor
    labels: Tensor
    temperature: Tensor
    rows: Tensor
    drawn: DrawnPositions
    settings: ScoringSettings
    entropy: bool
    at_once: int
    unsampled: Unsampled

    def model_output(self, scores: Tensor, offsets: Tensor) -> dict[str, Tensor]:
        """What verl's engine returns, from what the head returned, [..., 3]: jagged rows with ``offsets`` [B + 1]."""
        log_prob, entropy, density = scores.reshape(-1, scores.shape[-1])[self.places].unbind(-1)
        columns = {"log_probs": log_prob.index_copy(0, self.rows, density[self.rows])}
        if self.entropy:
            columns["entropy"] = entropy
        return {name: torch.nested.nested_tensor_from_jagged(column, offsets) for name, column in columns.items()}


def head_request(
    micro_batch: TensorDict,
    output_args: dict,
    drawn: DrawnPositions,
    settings: ScoringSettings,
    width: int | None,
    unsampled: Unsampled,
) -> HeadRequest:
    """The request of a micro-batch.

    Args:
        output_args: what verl hands from its inputs to its outputs.
        width: columns of the padded batch; None for a packed one.
        unsampled: tokens that no rollout draws.
    """
    offsets = micro_batch["input_ids"].offsets()
    lengths = offsets.diff()
    packed = torch.arange(int(offsets[-1]), device=offsets.device)
    sequence = torch.repeat_interleave(torch.arange(len(lengths), device=offsets.device), lengths)
    if width is None:
        places, temperature = packed, output_args["temperature_rmpad"][: len(packed)]
    else:
        places = sequence * width + packed - offsets[sequence]
        temperature = output_args["temperature"][sequence]
    return HeadRequest(
        places=places,
        labels=output_args["input_ids_rmpad_rolled"][: len(packed)],
        temperature=temperature.float(),
        rows=drawn.packed() - 1,
        drawn=drawn,
        settings=settings,
        entropy=tu.get_non_tensor_data(micro_batch, "calculate_entropy", default=False),
        at_once=settings.positions_at_once,
        unsampled=unsampled,
    )


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
        """Whether ``head`` itself is computed in pieces, rather than a module that wraps it."""
        return head is self._head

    def ask(self, request: HeadRequest | None) -> None:
        """Set what the next forward pass returns; None for its logits."""
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
    logits = request.unsampled.mask_(nn.functional.linear(hidden, weight, bias))
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


def check_pieces(readers: Sequence[str]) -> None:
    """Refuse what reads the logits of all positions.

    Args:
        readers: what the micro-batch asks for that does.

    Raises:
        ValueError: naming it.
    """
    if readers:
        raise ValueError(
            f"softthink.likelihood.positions_at_once is set, but the batch asks for {', '.join(readers)}, which reads "
            "the logits of all positions; set one of them to null"
        )
