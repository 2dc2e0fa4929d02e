"""Thoughts as text and tokens: the prompt that shows a hint, and a response split into its thought and its answer."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from verl_softthink.methods.variational.settings import HINT, QUESTION, HintSettings


def hint_of(row: Mapping[str, Any], settings: HintSettings) -> str:
    """The hint of a row of the data set.

    Raises:
        ValueError: when the row has none.
    """
    if settings.source == "answer":
        column, value = "reward_model.ground_truth", (row.get("reward_model") or {}).get("ground_truth")
    else:
        column, value = "extra_info.solution", (row.get("extra_info") or {}).get("solution")
    if value is None or not str(value).strip():
        other = "answer" if settings.source == "solution" else "solution"
        raise ValueError(
            f"softthink.variational.hint.source={settings.source!r}: a row of the data set has no {column}; add the "
            f"column to the parquet file, or set the source to {other!r}"
        )
    return str(value)


def with_hint(messages: list[dict], hint: str, template: str) -> list[dict]:
    """The same conversation, with the text of its last message and the hint put into ``template``.

    Raises:
        ValueError: when the last message is not a user's text.
    """
    *before, last = messages
    if last["role"] != "user" or not isinstance(last["content"], str):
        raise ValueError(
            f"the prompt ends with a message of role {last['role']!r} and content {type(last['content']).__name__}: "
            "a hint can be added to the user's text only"
        )
    # Only the template is searched for placeholders: question and hint may contain the same text.
    head, _, tail = template.partition(QUESTION)
    content = head.replace(HINT, hint) + last["content"] + tail.replace(HINT, hint)
    return [*before, {**last, "content": content}]


@dataclass(frozen=True)
class Response:
    """A thought and its answer as tokens.

    Attributes:
        ids: T tokens.
        log_probs: T log-probs in nats, under the distribution that the rollout sampled from; 0 for forced tokens.
        thought_length: number of tokens of the thought; the rest are the answer.
    """

    ids: list[int]
    log_probs: list[float]
    thought_length: int


def with_answer(response: Response, ids: list[int], log_probs: list[float], limit: int) -> Response:
    """The same thought with another answer, truncated to ``limit`` tokens in all."""
    cut = response.thought_length
    return Response(
        ids=(response.ids[:cut] + ids)[:limit],
        log_probs=(response.log_probs[:cut] + log_probs)[:limit],
        thought_length=cut,
    )
