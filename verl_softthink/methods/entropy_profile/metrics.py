"""The profile as metrics of a step, under ``softthink/entropy_profile/``, and how to read them."""

from collections.abc import Sequence

from torch import Tensor

from verl_softthink.report.metric_doc import PREFIX, MetricDoc


def profile_metrics(mean: Tensor, count: Tensor, positions: Sequence[int]) -> dict[str, float]:
    """``softthink/entropy_profile/<position>`` where a response reaches it, and the mean over all positions.

    Args:
        mean, count: [P] what ``report.entropy_profile.entropy_profile`` gives.
        positions: to be logged.
    """
    metrics = {f"{PREFIX}entropy_profile/{at}": float(mean[at]) for at in positions if at < len(mean)}
    if len(mean):
        metrics[f"{PREFIX}entropy_profile/mean"] = float((mean * count).sum() / count.sum())
    return metrics


ROWS = (
    MetricDoc(
        "entropy_profile/*",
        "entropy of the next-token distribution by position of the chain of thought, in nats, over the responses that "
        "reach it; "
        "and the mean over all positions",
        "the shape that the model had before training",
        "flat: training on tokens removes the uncertain positions; compare with a soft run, verl-softthink "
        "entropy-profile",
    ),
)
