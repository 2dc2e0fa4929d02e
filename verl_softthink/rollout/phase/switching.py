"""Switching between soft steps and ordinary tokens while thinking, as in SwiReasoning (arXiv 2510.05069).

A block is a run of steps of one kind; its reference is the entropy of its first step. Thinking starts soft.

    soft --> discrete   when the entropy falls below the block's reference
    discrete --> soft   when it rises above the reference and the block has at least ``window`` steps
    a switch beyond ``limit`` ends thinking instead

The step that switches is already of the new kind and gives the new block its reference.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor


@dataclass(frozen=True)
class SwitchParameters:
    """Per-row settings, all of shape [N].

    Attributes:
        limit: int64 switches allowed; 0 turns switching off.
        window: int64 least length of a discrete block.
    """

    limit: Tensor
    window: Tensor


@dataclass(frozen=True)
class SwitchState:
    """A row's history, all of shape [N].

    Attributes:
        reference: float32 nats, entropy of the first step of the block.
        steps: int64 steps of the block so far; 0 before the first.
        switches: int64 switches so far.
    """

    reference: Tensor
    steps: Tensor
    switches: Tensor


def switch(
    parameters: SwitchParameters,
    state: SwitchState,
    was_discrete: Bool[Tensor, " rows"],
    entropy: Float[Tensor, " rows"],
    thinking: Bool[Tensor, " rows"],
) -> tuple[Bool[Tensor, " rows"], SwitchState, Bool[Tensor, " rows"]]:
    """Decide the kind of this step.

    Args:
        was_discrete: [N] bool, the block so far is of ordinary tokens.
        entropy: [N] float32 nats; nan switches nothing.
        thinking: [N] bool, rows that take a step of thinking.

    Returns:
        discrete [N] bool, the state after the step, and [N] bool: a switch beyond the limit is due, so thinking ends.
    """
    running = thinking & (state.steps > 0) & (parameters.limit > 0)
    falls = ~was_discrete & (entropy < state.reference)
    rises = was_discrete & (entropy > state.reference) & (state.steps >= parameters.window)
    due = running & (falls | rises)
    exhausted = due & (state.switches >= parameters.limit)
    switches = due & ~exhausted
    opens = switches | (state.steps == 0)
    after = SwitchState(
        reference=torch.where(opens, entropy, state.reference),
        steps=torch.where(switches, 1, state.steps + 1),
        switches=state.switches + switches,
    )
    return was_discrete ^ switches, after, exhausted
