"""Forward context influence beside the old-log-prob pass: the training worker measures what it computes anyway.

A batch that carries ``softthink_steps`` ([S] tokens of every response step, a jagged row per sample) gets
``softthink_influence`` back beside ``log_probs``: [S] float32 per sample, the y_k of its steps, with zeros for the
first and the last four. ``batch.extra_info["softthink_influence_of"]`` may choose layers and heads. A row whose
response mask is all zero trains nothing and has zeros: verl's synthetic padding rows copy the steps of another sample.
"""

import torch
from tensordict import TensorDict
from verl.utils.tensordict_utils import get_non_tensor_data

from verl_softthink.methods.attnrl.influence import ForwardContextInfluence
from verl_softthink.methods.attnrl.sequences import SteppedSequence

STEPS = "softthink_steps"
INFLUENCE = "softthink_influence"
#: Key of the batch's non-tensor data: {"layers": indices or None, "heads": indices or None}.
INFLUENCE_OF = "softthink_influence_of"


class StepInfluence:
    """What is put in front of the engine; a mixin, like its neighbours."""

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
    """Where the rows of a micro-batch stand in the model's inputs, packed or padded on the right; None: untrained.

    Raises:
        ValueError: when the steps of a row do not add up to its response.
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
