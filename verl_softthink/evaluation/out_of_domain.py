"""Did training on one task unlearn others? Negative log-likelihood of the right choice, by lm-evaluation-harness.

    NLL = -log p(right choice | question), summed over the choice's tokens, mean over questions       [nats]

as in Soft Tokens (arXiv 2509.19170), where training on hard tokens raises it and on soft tokens does not. Any task of
the harness with multiple choices will do (``hellaswag``, ``arc_challenge``, ``mmlu``); ``pocket_facts`` is ours,
for the pocket reasoner's alphabet and without a network. The harness is the optional extra ``ood``.
"""

import importlib.util
import json
import logging
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np

from verl_softthink.evaluation.bootstrap import bootstrap_mean
from verl_softthink.evaluation.pocket_facts import write_task
from verl_softthink.standalone import has_accelerator

logger = logging.getLogger(__name__)


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


def write_result(measured: dict[str, dict], path: Path) -> None:
    """``ood.json``: what ``measure`` gave, by checkpoint."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(measured, indent=1) + "\n", encoding="utf-8")
    logger.info("wrote %s", path)
