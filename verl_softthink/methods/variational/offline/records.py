"""One question on its way through the stages: what its record holds after each, and the check of a stored one."""

import json
from collections.abc import Mapping

from pydantic import BaseModel, ConfigDict

from verl_softthink.files.reading import checked
from verl_softthink.methods.variational.offline.questions import Question

#: What each stage adds; verification is left out where the reference answer is scored.
ADDED = {
    "sample": ("thoughts", "unfinished"),
    "score": ("model", "posterior", "answer_log_probs"),
    "verify": ("rewards", "answer_ids"),
    "weigh": ("weights", "effective_sample_size"),
}


class Record(BaseModel):
    """A record after the last stage; after earlier ones it has fewer fields.

    Attributes:
        question: as it was read.
        thoughts: token ids of each of its K thoughts.
        unfinished: thoughts that never ended and were left out.
        model, posterior: [K] log-likelihood of each thought without and with the hint, in nats.
        answer_log_probs: per thought the log-probs of the reference answer's tokens.
        rewards: per thought those of the answers sampled after it.
        answer_ids: per thought the token ids of the first of the best answers.
        weights: [K], summing to 1 unless all are 0.
        effective_sample_size: of the weights.
    """

    model_config = ConfigDict(extra="forbid")

    question: Question
    thoughts: list[list[int]] = []
    unfinished: int = 0
    model: list[float] = []
    posterior: list[float] = []
    answer_log_probs: list[list[float]] = []
    rewards: list[list[float]] = []
    answer_ids: list[list[int]] = []
    weights: list[float] = []
    effective_sample_size: float = 0.0


def problem_of(record: object, stage: str, before: Mapping, place: str) -> str | None:
    """What is wrong with a stored record: another question's, or not what its stage writes; None where nothing is.

    Args:
        before: the record that the stage was given.
        place: file and line, for messages.

    Raises:
        FileError: a value of another type.
    """
    checked(Record, record, place, "no record of this pipeline")
    added = ADDED[stage] if stage != "verify" or "rewards" in record else ()
    if lacking := [key for key in added if key not in record]:
        return f"it has no {', '.join(lacking)}"
    # As text: a log-likelihood may be nan, which is not even itself.
    if changed := [key for key in before if json.dumps(record.get(key)) != json.dumps(before[key])]:
        return f"its {', '.join(changed)} are not those of the stage before"
    thoughts = len(record["thoughts"])
    per_thought = [key for key in added if key not in ("thoughts", "unfinished", "effective_sample_size")]
    if uneven := [key for key in per_thought if len(record[key]) != thoughts]:
        return f"it has {thoughts} thoughts, and not as many {', '.join(uneven)}"
    return None
