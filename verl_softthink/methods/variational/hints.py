"""The posterior's prompt: the same conversation, with a hint in its last message."""

from collections.abc import Mapping
from typing import Any

from verl_softthink.methods.variational.settings import HINT, QUESTION, HintSettings


def hint_of(row: Mapping[str, Any], settings: HintSettings) -> str:
    """The hint of a row of the data set.

    Raises:
        ValueError: when the row has none.
    """
    if settings.source == "answer":
        place, value = "reward_model.ground_truth", (row.get("reward_model") or {}).get("ground_truth")
    else:
        place, value = "extra_info.solution", (row.get("extra_info") or {}).get("solution")
    if value is None or not str(value).strip():
        other = "answer" if settings.source == "solution" else "solution"
        raise ValueError(
            f"softthink.variational.hint.source={settings.source!r}: a row of the data set has no {place}; add the "
            f"column to the parquet file, or set the source to {other!r}"
        )
    return str(value)


def with_hint(messages: list[dict], hint: str, template: str) -> list[dict]:
    """The messages with the last one's text put into ``template`` beside the hint.

    Raises:
        ValueError: when the last message is not a user's text.
    """
    *before, last = messages
    if last["role"] != "user" or not isinstance(last["content"], str):
        raise ValueError(
            f"the prompt ends with a message of role {last['role']!r} and content {type(last['content']).__name__}: "
            "a hint can be added to the user's text only"
        )
    # The template alone is searched for placeholders, so question and hint may contain the same text.
    head, _, tail = template.partition(QUESTION)
    content = head.replace(HINT, hint) + last["content"] + tail.replace(HINT, hint)
    return [*before, {**last, "content": content}]
