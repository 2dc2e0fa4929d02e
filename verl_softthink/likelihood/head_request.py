"""What the output head is asked for where it is taken in pieces, and how verl gets it back."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from tensordict import TensorDict
from torch import Tensor
from verl.utils import tensordict_utils as tu

from verl_softthink.likelihood.fields import ScoringSettings
from verl_softthink.likelihood.positions import DrawnPositions

#: Columns of what the head returns.
LOG_PROB, ENTROPY, DENSITY = range(3)


@dataclass(frozen=True)
class HeadRequest:
    """What is asked of the head in one forward pass, for P positions of the packed micro-batch.

    Attributes:
        places: [P] int64, the flattened position of the head's input that each packed position stands at.
        labels: [P] int64, the token that stands next.
        temperature: [P] float32, verl's answer temperature.
        rows: [N] int64, ascending: the packed position whose logits score each drawn position.
        drawn: the N drawn positions.
        settings: how they are scored.
        entropy: whether the entropy is wanted.
        at_once: positions of which the logits are held at a time.
    """

    places: Tensor
    labels: Tensor
    temperature: Tensor
    rows: Tensor
    drawn: DrawnPositions
    settings: ScoringSettings
    entropy: bool
    at_once: int

    def model_output(self, scores: Tensor, offsets: Tensor) -> dict[str, Tensor]:
        """What verl's engine returns, from what the head returned, [..., 3]: jagged rows with ``offsets`` [B + 1]."""
        log_prob, entropy, density = scores.reshape(-1, scores.shape[-1])[self.places].unbind(-1)
        columns = {"log_probs": log_prob.index_copy(0, self.rows, density[self.rows])}
        if self.entropy:
            columns["entropy"] = entropy
        return {name: torch.nested.nested_tensor_from_jagged(column, offsets) for name, column in columns.items()}


def head_request(
    micro_batch: TensorDict, output_args: dict, drawn: DrawnPositions, settings: ScoringSettings, width: int | None
) -> HeadRequest:
    """The request of a micro-batch.

    Args:
        output_args: what verl hands from its inputs to its outputs.
        width: columns of the padded batch; None for a packed one.
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
    )


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
