"""Tasks of reasoning-gym (arXiv 2505.24760) as verl parquet files, and their reward.

    verl-softthink data reasoning-gym --task chain_sum --train 4096 --test 128
    reward.custom_reward_function.path=pkg://verl_softthink.data.reasoning_gym

Problems are made from a seed, so nothing is fetched. Each task grades answers itself; what it needs beside the answer
travels as JSON in ``extra_info.task_entry``. The answer is looked for in the last ``\\boxed{...}``, else after the last
``####``, else in the last line.
"""

import functools
import importlib.util
import json
import logging
from pathlib import Path

from rich.progress import track

from verl_softthink.data.math_reward import last_boxed
from verl_softthink.data.parquet import training_row, write_rows
from verl_softthink.data.prompts import PROMPTS

logger = logging.getLogger(__name__)

_MARKER = "####"


def prepare(task: str, out: Path, sizes: dict[str, int], *, seed: int = 0, prompt: str = "boxed") -> list[Path]:
    """Write ``OUT/reasoning_gym-<task>-<split>.parquet``; the splits are made from different seeds.

    Raises:
        ModuleNotFoundError: reasoning-gym is not installed.
        ValueError: unknown task.
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


def compute_score(data_source: str, solution_str: str, ground_truth: str, extra_info: dict, **other: object) -> float:
    """verl's reward signature: the task's own grade, in [0, 1].

    Args:
        data_source: ``reasoning_gym/<task>``.
        solution_str: the decoded response.
        ground_truth, other: what verl passes to every reward function; the entry holds the answer.
        extra_info: with ``task_entry``, as ``prepare`` wrote it.
    """
    score = _scorer(data_source.partition("/")[2])
    return float(score(answer=given_answer(solution_str), entry=json.loads(extra_info["task_entry"])))


def given_answer(text: str) -> str:
    """What a response gives as its answer."""
    boxed = last_boxed(text)
    if boxed is not None:
        return boxed.strip()
    if _MARKER in text:
        return text.rsplit(_MARKER, 1)[1].strip()
    return text.strip().rsplit("\n", 1)[-1].strip()


@functools.cache
def _scorer(task: str):
    return _gym().get_score_answer_fn(task)


def _gym():
    if importlib.util.find_spec("reasoning_gym") is None:
        raise ModuleNotFoundError("reasoning-gym is not installed; run: pip install 'verl-softthink[reasoning-gym]'")
    import reasoning_gym

    return reasoning_gym
