"""Cutting a response into its thinking trace and its answer, and putting another answer after the trace."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Response:
    """A trace and its answer as tokens.

    Attributes:
        ids: T tokens.
        log_probs: T log-probs, nats, as the rollout saw each token; 0 where it sampled none.
        trace_length: the first tokens, which are the trace; the others are the answer.
    """

    ids: list[int]
    log_probs: list[float]
    trace_length: int


def with_answer(response: Response, ids: list[int], log_probs: list[float], limit: int) -> Response:
    """The same trace with another answer, cut at ``limit`` tokens in all."""
    cut = response.trace_length
    return Response(
        ids=(response.ids[:cut] + ids)[:limit],
        log_probs=(response.log_probs[:cut] + log_probs)[:limit],
        trace_length=cut,
    )
