"""Did training on one task unlearn others? Negative log-likelihood of the right choice, by lm-evaluation-harness.

    NLL = -log p(right choice | question), summed over the choice's tokens, mean over questions       [nats]

as in Soft Tokens (arXiv 2509.19170), where training on hard tokens raises it and on soft tokens does not. Any task of
the harness with multiple choices will do (``hellaswag``, ``arc_challenge``, ``mmlu``); ``pocket_facts`` is ours,
for the pocket reasoner's alphabet and without a network. The harness is the optional extra ``ood``.
"""

import hashlib
import importlib.util
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
from pydantic import BaseModel

from verl_softthink.evaluation.bootstrap import Interval, bootstrap_mean
from verl_softthink.evaluation.pocket_facts import write_task
from verl_softthink.files.checkpoint import check_model
from verl_softthink.files.digests import model_digest
from verl_softthink.files.reading import checked, read_json
from verl_softthink.files.work_folder import WorkFolder
from verl_softthink.files.writing import write_json
from verl_softthink.standalone import has_accelerator

#: Hexadecimal digits that tell results apart.
_NAME_LENGTH = 16


def right_choice_nll(samples: Sequence[dict]) -> np.ndarray:
    """[Q] nats from the samples that the harness logs for a multiple-choice task.

    Args:
        samples: each with ``target``, the index of the right choice, and ``filtered_resps``, a (log-likelihood, greedy)
            pair for every choice.

    Raises:
        ValueError: for a task of another kind.
    """
    nll = []
    for sample in samples:
        choices, target = sample["filtered_resps"], sample["target"]
        try:
            nll.append(-float(choices[int(target)][0]))
        except (TypeError, ValueError, IndexError) as error:
            raise ValueError(
                f"the task's target {target!r} is not the number of one of its {len(choices)} choices: give tasks with "
                "output_type multiple_choice"
            ) from error
    return np.array(nll)


def measure(
    checkpoint: Path, tasks: Sequence[str], out: Path, *, limit: int | None, batch_size: int, seed: int
) -> dict[str, dict]:
    """NLL and accuracy of one checkpoint on each task.

    Args:
        tasks: names of the harness, or ``pocket_facts``.
        out: directory where ``pocket_facts`` is written.
        limit: questions of each task; of each part of a group.

    Returns:
        task -> ``nll`` (mean, low, high), ``accuracy`` and ``questions``.

    Raises:
        ModuleNotFoundError: without the harness.
    """
    if importlib.util.find_spec("lm_eval") is None:
        raise ModuleNotFoundError("lm-evaluation-harness is not installed; run: pip install 'verl-softthink[ood]'")
    import lm_eval
    from lm_eval.tasks import TaskManager

    folder = write_task(out / "tasks")
    results = lm_eval.simple_evaluate(
        model="hf",
        model_args={"pretrained": str(checkpoint), "dtype": "auto" if has_accelerator() else "float32"},
        tasks=list(tasks),
        device=None if has_accelerator() else "cpu",
        batch_size=batch_size,
        limit=limit,
        # Ours are over the questions' NLL.
        bootstrap_iters=0,
        task_manager=TaskManager(include_path=str(folder)),
    )
    measured = {}
    for task in tasks:
        samples = [sample for part in _parts(task, results) for sample in results["samples"][part]]
        nll = right_choice_nll(samples)
        measured[task] = {
            "nll": asdict(bootstrap_mean(nll, seed=seed)),
            "accuracy": sum(sample["acc"] for sample in samples) / len(samples),
            "questions": len(samples),
        }
    return measured


def _parts(task: str, results: dict) -> list[str]:
    """The tasks that a group such as ``mmlu`` is made of; a task itself where it is none."""
    members = results.get("group_subtasks", {}).get(task) or []
    return [part for member in members for part in _parts(member, results)] if members else [task]


class Result(BaseModel):
    """What ``measure`` gives for one task."""

    nll: Interval
    accuracy: float
    questions: int


def measure_all(
    checkpoints: Sequence[Path], tasks: Sequence[str], out: Path, *, limit: int | None, batch_size: int, seed: int
) -> dict[str, dict[str, dict]]:
    """Measure what is missing of several checkpoints, and write ``ood.json`` into ``out``.

    Args:
        checkpoints, tasks, limit, batch_size, seed: as in ``measure``.
        out: folder of work; a checkpoint's task that was measured is not measured again.

    Returns:
        What stands in ``ood.json``: checkpoint -> task -> what ``measure`` gives.

    Raises:
        FileError: a checkpoint is damaged, or ``out`` holds results of other inputs or is another process's.
    """
    for checkpoint in checkpoints:
        check_model(checkpoint)
    # Each checkpoint has results of its own, and each task of a checkpoint: a later start may ask for others.
    models = {str(checkpoint): model_digest(checkpoint) for checkpoint in checkpoints}
    inputs = {"limit": limit, "seed": seed, "checkpoints": models}
    measured: dict[str, dict[str, dict]] = {}
    with WorkFolder(out, inputs, option="--out", growing=("checkpoints",)):
        for checkpoint in checkpoints:
            paths = {task: _stored(out, checkpoint, task) for task in tasks}
            if missing := [task for task, path in paths.items() if not path.exists()]:
                found = measure(checkpoint, missing, out, limit=limit, batch_size=batch_size, seed=seed)
                for task in missing:
                    write_json(found[task], paths[task])
            advice = "remove the file, and it is measured again"
            measured[str(checkpoint)] = {
                task: checked(Result, read_json(path, advice), path, f"no result; {advice}").model_dump()
                for task, path in paths.items()
            }
        write_json(measured, out / "ood.json")
    return measured


def _stored(out: Path, checkpoint: Path, task: str) -> Path:
    """The file of one result; its name is a digest, as paths and names of tasks may hold any character."""
    name = hashlib.sha256(f"{checkpoint}\0{task}".encode()).hexdigest()[:_NAME_LENGTH]
    return out / "measured" / f"{name}.json"
