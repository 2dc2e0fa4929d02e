"""The data sets that ``verl-softthink data`` knows: where they are, their columns, and what their answers look like."""

import re
from collections.abc import Callable
from dataclasses import dataclass, field

from verl_softthink.data.answer_place import BOX, MARKER, last_boxed
from verl_softthink.data.guarded_reward import answer_text

#: Instructions that published prompts add to the problem; ours are added instead (``prompts.py``).
_INSTRUCTIONS = (
    re.compile(
        r"\ASolve the following math problem step by step\. The last line of your response should be of the form "
        r"Answer: \$Answer \(without quotes\) where \$Answer is the answer to the problem\.\s*"
    ),
    re.compile(r"\s*Remember to put your answer on its own line after \"Answer:\"\.\s*\Z"),
    re.compile(r"\s*Let's think step by step and output the final answer within \\boxed\{\}\.\s*\Z"),
    re.compile(r"\s*Please reason step by step, and put your final answer within \\boxed\{\}\.\s*\Z"),
)


def after_marker(answer: object) -> str:
    """GSM8K: the number after ``####``, without thousands separators.

    Raises:
        ValueError: when the marker is missing.
    """
    _, marker, number = answer_text(answer).rpartition(MARKER)
    if not marker:
        raise ValueError(f"no {MARKER} in {number[-80:]!r}")
    return number.strip().replace(",", "")


def boxed_answer(solution: object) -> str:
    """MATH: the content of the last box of a solution.

    Raises:
        ValueError: when there is none.
    """
    text = answer_text(solution)
    answer = last_boxed(text)
    if answer is None:
        raise ValueError(f"no complete \\boxed{{...}} in {text[-80:]!r}")
    return answer


def plain(answer: object) -> str:
    """An answer by itself: text, a number, or a list of one.

    Raises:
        ValueError: several answers, or none.
    """
    if isinstance(answer, list):
        if len(answer) != 1:
            raise ValueError(f"{len(answer)} answers {answer!r}, where a reward needs one")
        (answer,) = answer
    return answer_text(answer)


def of_any_form(answer: object) -> str:
    """An answer by itself, or at the end of a solution as MATH's and GSM8K's have it: in a box, or after ``####``.

    Raises:
        ValueError: several answers, or none.
    """
    text = plain(answer)
    boxed = last_boxed(text)
    if boxed is not None:
        return boxed.strip()
    return after_marker(text) if MARKER in text else text


def bare_question(text: str) -> str:
    """A problem without the instructions that a published prompt adds."""
    for instruction in _INSTRUCTIONS:
        text = instruction.sub("", text)
    return text


@dataclass(frozen=True)
class HubSplit:
    """Where one split is on the Hugging Face hub."""

    path: str
    split: str
    config: str | None = None


@dataclass(frozen=True)
class Source:
    """One data set.

    Attributes:
        data_source: its name in the rows, by which verl chooses one of its own scorers
            (``verl.utils.reward_score.default_compute_score``).
        licence: as the publisher states it of what is on the hub; None where nothing is.
        splits: our name of each split, and where it is on the hub; None where it comes from a file alone.
        question, answer: columns that may hold them, the first that is there wins.
        read_answer: from the answer's column to the answer.
        scorer_reads: where verl's own scorer for ``data_source`` looks for the answer, the box or ``####``; None where
            verl has no scorer for these data.
        prompt: how questions are asked by default, one of ``prompts.PROMPTS``.
    """

    data_source: str
    licence: str | None
    splits: dict[str, HubSplit | None]
    question: tuple[str, ...] = ("problem", "question", "prompt")
    answer: tuple[str, ...] = ("answer", "solution")
    read_answer: Callable[[object], str] = field(default=plain)
    scorer_reads: str | None = BOX
    prompt: str = "boxed"


SOURCES: dict[str, Source] = {
    # Cobbe et al. 2021, arXiv 2110.14168
    "gsm8k": Source(
        data_source="openai/gsm8k",
        licence="MIT",
        splits={"train": HubSplit("openai/gsm8k", "train", "main"), "test": HubSplit("openai/gsm8k", "test", "main")},
        question=("question",),
        answer=("answer",),
        read_answer=after_marker,
        scorer_reads=MARKER,
        prompt="worked_examples",
    ),
    # Hendrycks et al. 2021, arXiv 2103.03874
    "math": Source(
        data_source="DigitalLearningGmbH/MATH-lighteval",
        licence="MIT",
        splits={
            "train": HubSplit("DigitalLearningGmbH/MATH-lighteval", "train"),
            "test": HubSplit("DigitalLearningGmbH/MATH-lighteval", "test"),
        },
        question=("problem",),
        answer=("solution",),
        read_answer=boxed_answer,
    ),
    # Lightman et al. 2023, arXiv 2305.20050
    "math500": Source(
        data_source="HuggingFaceH4/MATH-500",
        licence="MIT",
        splits={"test": HubSplit("HuggingFaceH4/MATH-500", "test")},
    ),
    # 40,315 problems, the training set of SofT-GRPO's paper
    "deepscaler": Source(
        data_source="deepscaler",
        licence="MIT",
        splits={"train": HubSplit("agentica-org/DeepScaleR-Preview-Dataset", "train")},
        scorer_reads=None,
    ),
    # Yu et al. 2025, arXiv 2503.14476, deduplicated
    "dapo": Source(
        data_source="math_dapo",
        licence="Apache-2.0",
        splits={"train": HubSplit("open-r1/DAPO-Math-17k-Processed", "train", "en")},
        question=("prompt", "problem"),
    ),
    "aime24": Source(
        data_source="aime24",
        licence="Apache-2.0",
        splits={"test": HubSplit("HuggingFaceH4/aime_2024", "train")},
        answer=("answer",),
    ),
    "aime25": Source(
        data_source="aime25",
        licence="Apache-2.0",
        splits={"test": HubSplit("math-ai/aime25", "test")},
        answer=("answer",),
    ),
    # Anybody's questions and answers.
    "own": Source(
        data_source="own",
        licence=None,
        splits={"train": None, "test": None},
        question=("question", "problem", "prompt"),
        read_answer=of_any_form,
        scorer_reads=None,
    ),
}
