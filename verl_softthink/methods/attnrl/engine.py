"""Forward context influence measured in the pass that computes the old log-probs.

A batch that carries ``fields.STEPS`` gets ``fields.INFLUENCE`` back beside ``log_probs``, both jagged with a row [S]
per sample: the y_k of its steps, zero for the first and the last four. ``batch.extra_info[fields.INFLUENCE_OF]`` may
choose layers and heads. A row whose response mask is all zero is not trained and gets zeros: verl's padding rows copy
the steps of another sample.
"""

import torch
from tensordict import TensorDict
from verl.utils.tensordict_utils import get_non_tensor_data

from verl_softthink.methods.attnrl.fields import INFLUENCE, INFLUENCE_OF, STEPS
from verl_softthink.methods.attnrl.influence import ForwardContextInfluence
from verl_softthink.methods.attnrl.steps import SteppedSequence


class StepInfluence:
    """Engine mixin that measures the influence of response steps."""

    def row_readers(self, micro_batch: TensorDict) -> list[str]:
        return [*super().row_readers(micro_batch), *([STEPS] if STEPS in micro_batch else [])]

    def forward_step(self, micro_batch, loss_function, forward_only):
        if STEPS not in micro_batch:
            return super().forward_step(micro_batch, loss_function, forward_only)
        if not forward_only:
            raise ValueError(
                f"{STEPS} is selected for a training pass: influence is measured in evaluation; select it for the "
                "old log-probs only"
            )
        sequences = stepped_sequences(micro_batch)
        measured = [sequence for sequence in sequences if sequence is not None]
        chosen = get_non_tensor_data(micro_batch, INFLUENCE_OF, default=None) or {}
        with ForwardContextInfluence(self.module, measured, **chosen) as influence:
            loss, output = super().forward_step(micro_batch, loss_function, forward_only)
        values = iter(influence.values)
        device = output["model_output"]["log_probs"].device
        of_steps = [
            torch.zeros(len(steps), device=device) if sequence is None else next(values)[1:]
            for sequence, steps in zip(sequences, micro_batch[STEPS].unbind(), strict=True)
        ]
        output["model_output"][INFLUENCE] = torch.nested.as_nested_tensor(of_steps, layout=torch.jagged)
        return loss, output


def stepped_sequences(micro_batch: TensorDict) -> list[SteppedSequence | None]:
    """Where each row of a micro-batch, packed or right-padded, is in the model's inputs; None if it is not trained.

    Raises:
        ValueError: the steps of a row do not add up to its response.
    """
    packed = get_non_tensor_data(micro_batch, "use_remove_padding", default=True)
    starts = micro_batch["input_ids"].offsets().tolist()
    sequences = []
    rows = zip(*(micro_batch[name].unbind() for name in ("input_ids", "response_mask", STEPS)), strict=True)
    for index, (tokens, mask, steps) in enumerate(rows):
        if not mask.any():
            sequences.append(None)
            continue
        lengths = steps.tolist()
        if sum(lengths) != len(mask):
            raise ValueError(
                f"row {index}: {STEPS} adds up to {sum(lengths)} tokens, and its response has {len(mask)}; segment the "
                "response as it was sampled"
            )
        row, start = (0, starts[index]) if packed else (index, 0)
        sequences.append(SteppedSequence(row, start, (len(tokens) - len(mask), *lengths)))
    return sequences
