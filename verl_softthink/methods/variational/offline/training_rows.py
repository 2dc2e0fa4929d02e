"""The rows that verl's SFT trainer reads: token ids of prompt and response, and one weight each.

Ids rather than messages: many chat templates drop or rewrite thinking when they render a finished conversation, and the
likelihoods were those of exactly these tokens.
"""

from collections.abc import Sequence

from verl_softthink.methods.variational.offline.questions import Question
from verl_softthink.methods.variational.offline.stages import Stages


def training_rows(records: Sequence[dict], stages: Stages) -> list[dict]:
    """Rows of all weighed questions, the mean weight being 1.

    Raises:
        ValueError: when no trace has weight.
    """
    build = _weighted if stages.settings.keep == "weighted" else _best
    rows = [row for record in records for row in build(record, stages)]
    total = sum(row["weight"] for row in rows)
    if not total:
        raise ValueError(
            "no trace led to a right answer, so there is nothing to train on; sample more traces (--traces), or look "
            "at the answers in the stage 'verify'"
        )
    return [row | {"weight": row["weight"] * len(rows) / total} for row in rows]


def _weighted(record: dict, stages: Stages) -> list[dict]:
    return [
        _row(record, stages, trace + answer, weight)
        for trace, answer, weight in zip(record["traces"], _answers(record, stages), record["weights"], strict=True)
        if weight > 0
    ]


def _best(record: dict, stages: Stages) -> list[dict]:
    rows = []
    if any(record["weights"]):
        best = max(range(len(record["weights"])), key=record["weights"].__getitem__)
        rows.append(_row(record, stages, record["traces"][best] + _answers(record, stages)[best], 1.0))
    question = Question(**record["question"])
    if question.thought:
        text = f"{question.thought}{stages.settings.end_of_thinking}{question.solution}"
        ids = stages.tokenizer.encode(text, add_special_tokens=False)
        rows.append(_row(record, stages, [*ids, stages.tokenizer.eos_token_id], 1.0))
    return rows


def _answers(record: dict, stages: Stages) -> list[list[int]]:
    """What follows each trace: the first right sampled answer, or the reference answer that was scored."""
    if stages.settings.answer == "accuracy":
        return record["answer_ids"]
    return [stages.reference_answer(record)] * len(record["traces"])


def _row(record: dict, stages: Stages, response: list[int], weight: float) -> dict:
    prompt, _ = stages.prompts(record)
    return {
        "prompt_ids": prompt,
        "response_ids": response,
        "weight": weight,
        "question": record["question"]["messages"][-1]["content"],
        "response": stages.tokenizer.decode(response),
    }
