"""From a prompt's tree to the rows that are trained: one per leaf, each an ordinary sample of verl's."""

from dataclasses import dataclass

import torch
from torch import Tensor

from verl_softthink.batch import Row
from verl_softthink.methods.attnrl.fields import ADVANTAGE, NODE, ROOT, VALUE
from verl_softthink.methods.attnrl.rows import LeafRow, leaf_rows
from verl_softthink.methods.attnrl.samples import ROW_FIELDS, PromptSamples, Sample
from verl_softthink.methods.attnrl.tree import InitialResponse, root_value
from verl_softthink.rollout.trace_fields import TRACE_ROW_FIELDS

#: Fields in which a continuation's row differs from that of the response that it was cut from.
_OWN_FIELDS = (
    *("responses", "response_mask", "loss_mask", "input_ids", "position_ids"),
    *("rm_scores", "rollout_log_probs", "extra_fields"),
    *TRACE_ROW_FIELDS,
)


@dataclass(frozen=True)
class TrainedLeaf:
    """One row to train.

    Attributes:
        key: verl's name of the row.
        row, tag: its fields and its tag.
        earlier: [N] float32, log-probs of its first N tokens by the policy that scored the initial response.
    """

    key: str
    row: Row
    tag: dict
    earlier: Tensor


def trained_leaves(prompt: PromptSamples, tree: list[InitialResponse]) -> list[TrainedLeaf]:
    """The rows of a prompt's branched responses and their continuations; none where nothing was branched."""
    unbranched = sum(not response.continuations for response in tree)
    leaves = sum(len(response.leaf_values) for response in tree)
    root = torch.tensor([root_value(tree), leaves, unbranched], dtype=torch.float32)
    return [_leaf(prompt, number, leaf, root) for number, leaf in enumerate(leaf_rows(tree))]


def idle_leaves(prompt: PromptSamples) -> list[TrainedLeaf]:
    """Rows of the initial responses with advantages of zero, for a step in which no prompt teaches anything."""
    rewards = torch.tensor([sample.reward for sample in prompt.samples])
    root = torch.tensor([float(rewards.mean()), len(rewards), len(rewards)])
    found = []
    for number, (sample, log_probs) in enumerate(zip(prompt.samples, prompt.log_probs, strict=True)):
        length = len(sample.row["responses"])
        values = torch.full((length,), float(rewards[number]))
        leaf = LeafRow(number, None, length, torch.zeros(length), torch.full((length,), number), values)
        found.append(_trained(prompt.uid, number, sample, sample, leaf, root, log_probs))
    return found


def _leaf(prompt: PromptSamples, number: int, leaf: LeafRow, root: Tensor) -> TrainedLeaf:
    initial = prompt.samples[leaf.response]
    own = initial if leaf.continuation is None else prompt.of_response(leaf.response)[leaf.continuation]
    return _trained(prompt.uid, number, initial, own, leaf, root, prompt.log_probs[leaf.response][: leaf.cut])


def _trained(
    uid: str, number: int, initial: Sample, own: Sample, leaf: LeafRow, root: Tensor, earlier: Tensor
) -> TrainedLeaf:
    common = {name: initial.row[name] for name in ROW_FIELDS if name in initial.row}
    row = common | {name: own.row[name] for name in _OWN_FIELDS if name in initial.row}
    row |= {ADVANTAGE: leaf.advantages, NODE: leaf.nodes.float(), VALUE: leaf.values, ROOT: root}
    oldest = min(initial.tag["min_global_steps"], own.tag["min_global_steps"])
    return TrainedLeaf(f"{uid}_{number}_0", row, own.tag | {"min_global_steps": oldest}, earlier)
