"""A task over sets of states as files: the start of a model, problems for verl's PPO trainer, rows for its SFT trainer.

    OUT/model             two layers of width 128, freshly initialised, with tokenizer and chat template
    OUT/train.parquet     problems for reinforcement learning
    OUT/val.parquet       held-out problems
    OUT/sft_soft.parquet  thoughts as target distributions: the T sets, uniform
    OUT/sft_path.parquet  tokens of the path that ends in the answer, T of them
    OUT/sft_blind_path.parquet  tokens of one path, chosen without regard to the answer
    OUT/sft_paths.parquet tokens of all paths, one after another
    OUT/sft_pause.parquet T pause tokens, of which none is predicted
    OUT/task.json         the task's options, and what a single path can know

Problems of the three uses are disjoint for every seed. Answers are graded by ``verl_softthink.pocket.reward``.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

import torch
from transformers import PreTrainedTokenizerBase

from verl_softthink.data.sft_rows import TOKEN, SftRow, write_sft_rows
from verl_softthink.files.writing import write_json
from verl_softthink.pocket.data import write_parquet
from verl_softthink.pocket.model import build_model
from verl_softthink.pocket.reward import THINK_END
from verl_softthink.pocket.superposition.problem import StateProblem, StateTask
from verl_softthink.pocket.tasks import draw_distinct
from verl_softthink.pocket.tokenizer import build_word_tokenizer

PAUSE = "<pause>"
ABILITY = "state_tracking"
#: Enough for breadth-first search over a set of states (arXiv 2505.12514), too few to compose many permutations.
LAYERS = 2
#: Special tokens and markers around question and thoughts: user, assistant, both ends of thinking, answer, end.
_FRAME = 6

logger = logging.getLogger(__name__)


def prepare(task: StateTask, out: Path, *, train: int, val: int, sft: int, seed: int) -> None:
    """Write all files.

    Args:
        train, val, sft: number of problems of each use.
        seed: of the problems and of the model's weights.

    Raises:
        ValueError: the task has too few problems.
    """
    tokenizer = task_tokenizer(task)
    torch.manual_seed(seed)
    build_model(tokenizer, layers=LAYERS, max_length=tokenizer.model_max_length).save_pretrained(out / "model")
    tokenizer.save_pretrained(out / "model")
    held_out = draw_distinct(task.draw, "val", val, seed)
    for problems, name in ((draw_distinct(task.draw, "train", train, seed), "train"), (held_out, "val")):
        write_parquet(problems, out / f"{name}.parquet", f"pocket/{task.name}", ABILITY)
    problems = draw_distinct(task.draw, "pretrain", sft, seed)
    prompt_ids = prompts(problems, tokenizer)
    for name, thoughts in ARMS.items():
        write_sft_rows(sft_rows(problems, prompt_ids, tokenizer, thoughts), out / f"sft_{name}.parquet")
    facts = {
        "task": task.name,
        "options": asdict(task),
        "seed": seed,
        "thoughts": task.steps,
        "prompt_tokens": max(map(len, prompt_ids)),
        "guess": 1 / len(held_out[0].choices),
        "blind_path_accuracy": sum(problem.blind_path_accuracy for problem in held_out) / len(held_out),
    }
    write_json(facts, out / "task.json")
    logger.info(
        "wrote %s: %d problems to fine-tune on; one path chosen blindly is right %.3f of the time, a guess %.3f",
        out,
        sft,
        facts["blind_path_accuracy"],
        facts["guess"],
    )


def task_tokenizer(task: StateTask) -> PreTrainedTokenizerBase:
    """The task's words beside the pocket reasoner's markers; the longest sequence is that of all paths."""
    longest = task.prompt_length + task.steps * task.most_paths + _FRAME
    return build_word_tokenizer((PAUSE, *task.words), longest)


Thoughts = Callable[[StateProblem], tuple[Sequence[str], Sequence[Sequence[str]] | None, bool]]


def _soft(problem: StateProblem):
    return [states[0] for states in problem.sets], problem.sets, True


def _path(problem: StateProblem):
    return problem.path, None, True


def _blind_path(problem: StateProblem):
    return problem.blind_path, None, True


def _paths(problem: StateProblem):
    return [state for path in problem.paths for state in path], None, True


def _pause(problem: StateProblem):
    return [PAUSE] * len(problem.sets), None, False


#: For each kind of thoughts: the words shown, their target sets (None for tokens), and whether they are predicted.
ARMS: dict[str, Thoughts] = {
    "soft": _soft,
    "path": _path,
    "blind_path": _blind_path,
    "paths": _paths,
    "pause": _pause,
}


def prompts(problems: Sequence[StateProblem], tokenizer: PreTrainedTokenizerBase) -> list[list[int]]:
    """The token ids of each problem's prompt, which ends with the start of thinking."""
    chats = [[{"role": "user", "content": problem.question}] for problem in problems]
    return tokenizer.apply_chat_template(chats, add_generation_prompt=True, return_dict=True)["input_ids"]


def sft_rows(
    problems: Sequence[StateProblem],
    prompt_ids: Sequence[list[int]],
    tokenizer: PreTrainedTokenizerBase,
    thoughts: Thoughts,
) -> list[SftRow]:
    """A row for each problem: prompt, thoughts, end of thinking, answer, end of sequence."""
    ids = tokenizer.get_vocab()
    rows = []
    for problem, prompt in zip(problems, prompt_ids, strict=True):
        words, sets, predicted = thoughts(problem)
        response = [ids[word] for word in (*words, THINK_END, problem.answer, tokenizer.eos_token)]
        after = len(response) - len(words)
        targets = None
        if sets is not None:
            mixtures = [([ids[state] for state in states], [1 / len(states)] * len(states)) for states in sets]
            targets = [*mixtures, *[TOKEN] * after]
        rows.append(SftRow(prompt, response, [int(predicted)] * len(words) + [1] * after, targets))
    return rows
