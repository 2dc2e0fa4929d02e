"""The rows that are trained on: one per leaf of a prompt's tree, each an ordinary sample of verl's."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from verl_softthink.batch import Row
from verl_softthink.methods.attnrl.fields import ADVANTAGE, NODE, ROOT, VALUE
from verl_softthink.methods.attnrl.samples import ROW_FIELDS, PromptSamples, Sample
from verl_softthink.methods.attnrl.tree import InitialResponse, LeafRow, leaf_rows, root_value
from verl_softthink.rollout.fields import TRACE_ROW_FIELDS

#: Fields in which a continuation's row differs from that of its initial response.
_OWN_FIELDS = (
    *("responses", "response_mask", "loss_mask", "input_ids", "position_ids"),
    *("rm_scores", "rollout_log_probs", "extra_fields"),
    *TRACE_ROW_FIELDS,
)


@dataclass(frozen=True)
class TrainingRow:
    """One row to train on.

    Attributes:
        key: verl's key of the row.
        fields, tag: its fields by name, and its tag.
        earlier: [N] float32, log-probs of its first N tokens under the policy that scored the initial response.
    """

    key: str
    fields: Row
    tag: dict
    earlier: Float[Tensor, " N"]


def training_rows(prompt: PromptSamples, tree: list[InitialResponse]) -> list[TrainingRow]:
    """The rows of a prompt's branched responses and their continuations; none if nothing was branched."""
    unbranched = sum(not response.continuations for response in tree)
    leaves = sum(len(response.leaf_values) for response in tree)
    root = torch.tensor([root_value(tree), leaves, unbranched], dtype=torch.float32)
    found = []
    for number, leaf in enumerate(leaf_rows(tree)):
        initial = prompt.samples[leaf.response]
        own = initial if leaf.continuation is None else prompt.of_response(leaf.response)[leaf.continuation]
        earlier = prompt.log_probs[leaf.response][: leaf.cut]
        found.append(_training_row(f"{prompt.uid}_{number}_0", initial, own, leaf, root, earlier))
    return found


def rows_without_signal(prompt: PromptSamples) -> list[TrainingRow]:
    """The initial responses with zero advantages, for a step in which no prompt has a signal."""
    rewards = torch.tensor([sample.reward for sample in prompt.samples])
    root = torch.tensor([float(rewards.mean()), len(rewards), len(rewards)])
    found = []
    for number, (sample, log_probs) in enumerate(zip(prompt.samples, prompt.log_probs, strict=True)):
        length = len(sample.row["responses"])
        values = torch.full((length,), float(rewards[number]))
        leaf = LeafRow(number, None, length, torch.zeros(length), torch.full((length,), number), values)
        found.append(_training_row(f"{prompt.uid}_{number}_0", sample, sample, leaf, root, log_probs))
    return found


def stitched(current: Float[Tensor, " T"], earlier: Float[Tensor, " N"]) -> Float[Tensor, " T"]:
    """[T] log-probs: under the earlier policy for the first N tokens, under the current one for the others."""
    return torch.cat([earlier.to(current.dtype), current[len(earlier) :]])


def _training_row(key: str, initial: Sample, own: Sample, leaf: LeafRow, root: Tensor, earlier: Tensor) -> TrainingRow:
    common = {name: initial.row[name] for name in ROW_FIELDS if name in initial.row}
    fields = common | {name: own.row[name] for name in _OWN_FIELDS if name in initial.row}
    fields |= {ADVANTAGE: leaf.advantages, NODE: leaf.nodes.float(), VALUE: leaf.values, ROOT: root}
    oldest = min(initial.tag["min_global_steps"], own.tag["min_global_steps"])
    return TrainingRow(key, fields, own.tag | {"min_global_steps": oldest}, earlier)
