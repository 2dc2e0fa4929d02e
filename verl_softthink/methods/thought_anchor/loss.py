"""The anchor's term in the actor's loss: verl's own plus coefficient x divergence, aggregated in the same way."""

from collections.abc import Callable

from tensordict import TensorDict
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from verl.trainer.ppo.core_algos import agg_loss
from verl.utils.metric import AggregationType, Metric

from verl_softthink.methods.thought_anchor.fields import DIVERGENCE
from verl_softthink.methods.thought_anchor.metrics import KL

#: verl's losses of an engine: (model_output, data, dp_group) -> loss, metrics.
Loss = Callable[..., tuple[Tensor, dict]]


def anchored(loss: Loss, *, coefficient: float, loss_agg_mode: str, loss_scale_factor: float | None) -> Loss:
    """A loss with the anchor's term added.

    Args:
        loss: verl's, which is not changed.
        coefficient: weight of the term.
        loss_agg_mode, loss_scale_factor: ``actor_rollout_ref.actor``'s, by which verl aggregates its own loss.
    """

    def with_anchor(model_output: dict, data: TensorDict, dp_group: object = None) -> tuple[Tensor, dict]:
        total, metrics = loss(model_output=model_output, data=data, dp_group=dp_group)
        term = agg_loss(
            loss_mat=_padded(model_output[DIVERGENCE]),
            loss_mask=_padded(data["response_mask"]).bool(),
            loss_agg_mode=loss_agg_mode,
            dp_size=data["dp_size"],
            batch_num_tokens=data["batch_num_tokens"],
            global_batch_size=data["global_batch_size"],
            loss_scale_factor=loss_scale_factor,
        )
        # A micro-batch holds its share of the mini-batch's aggregate.
        return total + coefficient * term, metrics | {KL: Metric(AggregationType.SUM, term)}

    return with_anchor


def _padded(rows: Tensor) -> Tensor:
    """[B, T] of a jagged tensor. Its own ``to_padded_tensor`` is wider where it does not know its longest row."""
    return pad_sequence(list(rows.unbind()), batch_first=True)
