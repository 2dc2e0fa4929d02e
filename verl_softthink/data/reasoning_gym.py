"""Tasks of reasoning-gym (arXiv 2505.24760) as verl parquet files, and their reward.

    verl-softthink data reasoning-gym --task chain_sum --train 4096 --test 128
    reward.custom_reward_function.path=pkg://verl_softthink.data.reasoning_gym

Problems are made from a seed, so nothing is fetched. Each task grades answers itself; what it needs beside the answer
travels as JSON in ``extra_info.task_entry``. The answer is the content of the last complete ``\\boxed{...}``, else all
that follows the last ``####``, else the last line: the answers of many tasks are words or grids, not numbers.
"""

import functools
import importlib.util
import json
import logging
from collections.abc import Callable
from pathlib import Path

from rich.progress import track

from verl_softthink.data.answer_place import MARKER, last_boxed
from verl_softthink.data.guarded_reward import RewardSetupError, guarded, no_answer
from verl_softthink.data.parquet import training_row, write_rows
from verl_softthink.data.prompts import PROMPTS

logger = logging.getLogger(__name__)


def prepare(task: str, out: Path, sizes: dict[str, int], *, seed: int = 0, prompt: str = "boxed") -> list[Path]:
    """Write ``OUT/reasoning_gym-<task>-<split>.parquet``; the splits are made from different seeds.

    Raises:
        ModuleNotFoundError: reasoning-gym is not installed.
        ValueError: unknown task, or one that has no reference answers.
    """
    gym = _gym()
    written, seen = [], set()
    for number, (split, size) in enumerate(sizes.items()):
        entries = gym.create_dataset(task, size=size, seed=seed + number)
        rows = []
        for entry in track(entries, description=f"{task} {split}", total=size):
            if entry["question"] in seen:
                continue  # of an earlier split, or of this one
            seen.add(entry["question"])
            if no_answer(entry["answer"]):
                raise ValueError(
                    f"--task {task}: a problem's answer is {entry['answer']!r}, and reward_model.ground_truth may not "
                    "be null; choose a task with reference answers"
                )
            row = training_row(
                source=f"reasoning_gym/{task}",
                messages=PROMPTS[prompt](entry["question"]),
                answer=str(entry["answer"]),
                split=split,
                index=len(rows),
                question=entry["question"],
            )
            row["extra_info"]["task_entry"] = json.dumps(entry, default=str)
            rows.append(row)
        path = out / f"reasoning_gym-{task}-{split}.parquet"
        write_rows(rows, path)
        logger.info("wrote %s: %d problems", path, len(rows))
        written.append(path)
    return written


def compute_score(
    data_source: str, solution_str: str, ground_truth: str, extra_info: dict, **other: object
) -> dict[str, float]:
    """verl's reward signature: the task's own grade.

    Args:
        data_source: ``reasoning_gym/<task>``.
        solution_str: the decoded response.
        ground_truth, other: what verl passes to every reward function; the entry holds the answer.
        extra_info: with ``task_entry``, as ``prepare`` wrote it.

    Returns:
        ``score`` and ``acc``, the grade in [0, 1]; ``grader_failure``, 1 where the task's scorer raised an exception.

    Raises:
        RewardSetupError: the row is none of ``prepare``'s.
        ModuleNotFoundError: reasoning-gym is not installed.
    """
    if "task_entry" not in extra_info:
        raise RewardSetupError(
            f"extra_info.task_entry is missing ({data_source}): make the data with verl-softthink data reasoning-gym"
        )
    entry = json.loads(extra_info["task_entry"])
    return _grade(solution_str=solution_str, scorer=_scorer(data_source.partition("/")[2]), entry=entry)


@guarded
def _grade(*, solution_str: str, scorer: Callable[..., float], entry: dict) -> float:
    return float(scorer(answer=given_answer(solution_str), entry=entry))


def given_answer(text: str) -> str:
    """What a response gives as its answer."""
    boxed = last_boxed(text)
    if boxed is not None:
        return boxed.strip()
    if MARKER in text:
        return text.rsplit(MARKER, 1)[1].strip()
    return text.strip().rsplit("\n", 1)[-1].strip()


@functools.cache
def _scorer(task: str):
    return _gym().get_score_answer_fn(task)


def _gym():
    if importlib.util.find_spec("reasoning_gym") is None:
        raise ModuleNotFoundError("reasoning-gym is not installed; run: pip install 'verl-softthink[reasoning-gym]'")
    import reasoning_gym

    return reasoning_gym
