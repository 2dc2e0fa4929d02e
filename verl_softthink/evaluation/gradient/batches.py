"""Rollouts as a batch of verl's likelihood engine: traces, the positions that were sampled, advantages."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from tensordict import TensorDict
from torch import Tensor

from verl_softthink.evaluation.engine import Rollout
from verl_softthink.evaluation.modes import Mode
from verl_softthink.likelihood.fields import SETTINGS, ScoringSettings
from verl_softthink.rollout.fields import to_fields, with_seed
from verl_softthink.trace import SoftTrace


@dataclass(frozen=True)
class GradedRollout:
    """A response to one prompt.

    Attributes:
        prompt: token ids.
        rollout: the response.
        seed: of its noise.
        reward: 1 for a right answer, 0 for any other.
    """

    prompt: list[int]
    rollout: Rollout
    seed: int
    reward: float


def sampled_positions(trace: SoftTrace, answer_temperature: float) -> Tensor:
    """[T] bool: what the policy drew, and the loss therefore scores.

    Drawn positions; with a temperature above 0 ordinary tokens too. Greedy tokens are a function of what was drawn, and
    their log-probabilities have no part in the likelihood of a response; nor have those of forced tokens.
    """
    ordinary = torch.full_like(trace.drawn, answer_temperature > 0)
    return ~trace.forced & (trace.drawn | ordinary)


def scoring_of(mode: Mode) -> dict:
    """The record that says how the mode's traces are scored, as the trainer sends it with a batch."""
    return mode.law.scoring() | {"temperature": mode.filter.temperature, "detach_inputs": False}


def engine_batch(
    rollouts: Sequence[GradedRollout],
    advantages: Tensor,
    mode: Mode,
    *,
    answer_temperature: float,
    micro_batch: int,
) -> TensorDict:
    """One batch, of which a loss is taken as of a mini-batch in training.

    Args:
        rollouts: N responses with at least one token each.
        advantages: [N].
        mode: law and filter that drew them.
        answer_temperature: of ordinary tokens; 0 is greedy.
        micro_batch: responses of a forward pass at most; verl takes a divisor of N.
    """
    from verl.utils import tensordict_utils as tu

    rows_at_once = max(size for size in range(1, micro_batch + 1) if len(rollouts) % size == 0)
    responses = [torch.tensor(each.rollout.tokens) for each in rollouts]
    sequences = [torch.tensor(each.prompt + each.rollout.tokens) for each in rollouts]
    masks = [sampled_positions(each.rollout.trace, answer_temperature).long() for each in rollouts]
    scoring = scoring_of(mode)
    traces = [to_fields(with_seed(each.rollout.trace, mode.law, each.seed), mode.law) for each in rollouts]
    rows = {
        "input_ids": sequences,
        "position_ids": [torch.arange(len(sequence)) for sequence in sequences],
        "prompts": [torch.tensor(each.prompt) for each in rollouts],
        "responses": responses,
        "response_mask": masks,
        "loss_mask": masks,
        "advantages": [
            advantage.expand(len(response)) for advantage, response in zip(advantages, responses, strict=True)
        ],
    }
    rows |= {name: [trace[name] for trace in traces] for name in ScoringSettings.parse(scoring).trace_fields}
    plain = {
        "temperature": answer_temperature or 1.0,
        "use_remove_padding": False,
        "use_dynamic_bsz": False,
        "micro_batch_size_per_gpu": rows_at_once,
        "global_batch_size": len(rollouts),
        "calculate_entropy": False,
        SETTINGS: scoring,
    }
    jagged = {name: torch.nested.as_nested_tensor(list(each), layout=torch.jagged) for name, each in rows.items()}
    return tu.get_tensordict(jagged, plain)
