"""One evaluation: problems and modes in, samples on disk and their summary out; what is on disk is not drawn again."""

import hashlib
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from verl_softthink.bench.report import hardware, versions
from verl_softthink.config.settings import PhaseSettings, RequestSettings
from verl_softthink.errors import FileError
from verl_softthink.evaluation.engine import Engine, EngineSettings
from verl_softthink.evaluation.modes import Mode
from verl_softthink.evaluation.problems import EvaluationProblem
from verl_softthink.evaluation.samples import PROMPT_TOO_LONG, Response, Sample
from verl_softthink.evaluation.scoring import grade, resolve_reward
from verl_softthink.evaluation.store import SampleStore
from verl_softthink.evaluation.summary import summarise, table
from verl_softthink.files.checkpoint import chat_ids, check_model, load_tokenizer
from verl_softthink.files.digests import file_digest, model_digest
from verl_softthink.files.work_folder import WorkFolder
from verl_softthink.files.writing import write_json
from verl_softthink.report.pass_at_k import plot_pass_at_k
from verl_softthink.thinking import require_open_turn

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

logger = logging.getLogger(__name__)

#: Requests that are sent together and stored together; more would lose more work when an evaluation is stopped.
CHUNK_REQUESTS = 256
#: Directories of a checkpoint's path that are named in titles.
TITLE_PARTS = 3
#: Key of the inputs of each mode.
_MODES = "modes"
COLUMNS = (
    TextColumn("{task.description}"),
    BarColumn(),
    MofNCompleteColumn(),
    TimeElapsedColumn(),
    TimeRemainingColumn(),
)


@dataclass(frozen=True)
class Evaluation:
    """What is evaluated, and how.

    Attributes:
        checkpoint: directory in Hugging Face's format.
        data: the file of the problems.
        problems: those that are evaluated.
        modes: how the model thinks.
        phase: markers, budgets and answers, the same in every mode.
        samples: responses to each problem; one in a deterministic mode.
        ks: values of k in pass@k.
        reward: what decides whether a response is right, one of ``scoring.REWARDS``.
        prompt: name of the way in which bare questions are asked.
        seed: of noise, draws and bootstrap; the same in every mode, so that modes are compared on equal noise.
        engine: sizes.
    """

    checkpoint: Path
    data: Path
    problems: Sequence[EvaluationProblem]
    modes: Sequence[Mode]
    phase: PhaseSettings
    samples: int
    ks: Sequence[int]
    reward: str
    prompt: str
    seed: int
    engine: EngineSettings

    def per_problem(self, mode: Mode) -> int:
        """Responses to each problem in a mode."""
        return 1 if mode.deterministic and self.engine.answer_temperature == 0 else self.samples

    def inputs(self) -> dict:
        """Everything that the samples depend on, as JSON values: digests of files, and settings.

        Raises:
            FileError: the checkpoint or the data cannot be read.
        """
        shared = {
            "checkpoint": model_digest(self.checkpoint),
            "data": file_digest(self.data),
            "problems": len(self.problems),
            "reward": self.reward,
            "prompt": self.prompt,
            "seed": self.seed,
            "max_prompt_length": self.engine.max_prompt_length,
            "max_tokens": self.engine.max_tokens,
            "answer_temperature": self.engine.answer_temperature,
            "phase": self.phase.model_dump(),
        }
        modes = {
            mode.name: {
                "samples": self.per_problem(mode),
                "law": mode.law.model_dump(),
                "filter": mode.filter.model_dump(),
            }
            for mode in self.modes
        }
        return shared | {_MODES: modes}


def sample_seed(seed: int, problem: int, sample: int) -> int:
    """Seed of one response, in [0, 2^63)."""
    return int.from_bytes(hashlib.blake2b(f"{seed} {problem} {sample}".encode(), digest_size=8).digest()) >> 1


def title_of(checkpoint: Path, data: Path) -> str:
    """What was evaluated on what: of a path such as .../soft/seed0/global_step_60/actor its last parts."""
    return f"{'/'.join(checkpoint.resolve().parts[-TITLE_PARTS:])} on {data.name}"


def evaluate(evaluation: Evaluation, out: Path, console: Console) -> dict:
    """Draw what is missing, and write ``eval.json`` and ``pass_at_k.png`` into ``out``.

    Returns:
        What stands in ``eval.json``.

    Raises:
        FileError: when the checkpoint is damaged, or ``out`` holds samples of other inputs or is another process's.
    """
    check_model(evaluation.checkpoint)
    inputs = evaluation.inputs()
    # Modes have samples of their own: a later start may ask for others.
    with WorkFolder(out, inputs, option="--out", growing=(_MODES,)) as folder:
        return _evaluate(evaluation, SampleStore(folder), inputs, out, console)


def _evaluate(evaluation: Evaluation, store: SampleStore, inputs: dict, out: Path, console: Console) -> dict:
    work = [(mode, chunk, problems) for mode in evaluation.modes for chunk, problems in _chunks(evaluation, mode)]
    missing = [(mode, chunk, problems) for mode, chunk, problems in work if not store.has(mode.name, chunk)]
    if missing:
        _draw(evaluation, missing, store, console)
    summaries = {}
    for mode in evaluation.modes:
        samples = []
        for chunk, problems in _chunks(evaluation, mode):
            stored = store.read(mode.name, chunk)
            _check_complete(evaluation, mode, problems, stored, store.path(mode.name, chunk))
            samples += stored
        summaries[mode.name] = summarise(
            samples,
            problems=len(evaluation.problems),
            per_problem=evaluation.per_problem(mode),
            ks=(1, *evaluation.ks),
            reward=resolve_reward(evaluation.reward, evaluation.problems[0].source),
            seed=evaluation.seed,
        )
    paths = {"checkpoint": str(evaluation.checkpoint), "data": str(evaluation.data)}
    digests = {f"{name}_sha256": inputs[name] for name in paths}
    result = {
        "modes": summaries,
        "settings": inputs | paths | digests,
        "versions": versions(),
        "hardware": hardware(),
    }
    write_json(result, out / "eval.json")
    title = title_of(evaluation.checkpoint, evaluation.data)
    console.print(table(summaries, title))
    plot_pass_at_k([(title, out / "eval.json")], out / "pass_at_k.png", title=title)
    logger.info("wrote %s", out / "eval.json")
    return result


def _check_complete(
    evaluation: Evaluation, mode: Mode, problems: Sequence[EvaluationProblem], samples: list[Sample], path: Path
) -> None:
    """
    Raises:
        FileError: a stored chunk has not exactly the samples that it should have.
    """
    wanted = [(problem.index, number) for problem in problems for number in range(evaluation.per_problem(mode))]
    if [(sample.problem, sample.sample) for sample in samples] != wanted:
        raise FileError(
            path, f"it has not the {len(wanted)} samples of its problems; remove the file, and they are drawn again"
        )


def _chunks(evaluation: Evaluation, mode: Mode) -> list[tuple[int, Sequence[EvaluationProblem]]]:
    """Consecutive problems whose samples are drawn together, numbered."""
    size = max(1, CHUNK_REQUESTS // evaluation.per_problem(mode))
    starts = range(0, len(evaluation.problems), size)
    return [(number, evaluation.problems[start : start + size]) for number, start in enumerate(starts)]


def _draw(evaluation: Evaluation, missing: list, store: SampleStore, console: Console) -> None:
    tokenizer = load_tokenizer(evaluation.checkpoint)
    require_open_turn(tokenizer, evaluation.phase.end_of_thinking, f"--checkpoint {evaluation.checkpoint}")
    with Progress(*COLUMNS, console=console) as progress:
        total = sum(len(problems) * evaluation.per_problem(mode) for mode, _, problems in missing)
        task = progress.add_task("starting vLLM", total=total)
        with Engine.opened(evaluation.checkpoint, evaluation.engine) as engine:
            for mode, chunk, problems in missing:
                progress.update(task, description=mode.name)
                samples = _samples(evaluation, mode, problems, engine, tokenizer)
                store.write(mode.name, chunk, samples)
                progress.advance(task, len(samples))


def _samples(
    evaluation: Evaluation,
    mode: Mode,
    problems: Sequence[EvaluationProblem],
    engine: Engine,
    tokenizer: "PreTrainedTokenizerBase",
) -> list[Sample]:
    """The scored responses of one chunk, those to prompts that are too long among them."""
    drawn = [(problem, number) for problem in problems for number in range(evaluation.per_problem(mode))]
    prompts = {problem.index: chat_ids(tokenizer, problem.messages) for problem in problems}
    fitting = [pair for pair in drawn if len(prompts[pair[0].index]) <= evaluation.engine.max_prompt_length]
    requests = [
        RequestSettings(
            law=mode.law,
            filter=mode.filter,
            phase=evaluation.phase,
            seed=sample_seed(evaluation.seed, problem.index, number),
        )
        for problem, number in fitting
    ]
    responses = engine.generate([prompts[problem.index] for problem, _ in fitting], requests) if fitting else []
    found = dict(zip(((problem.index, number) for problem, number in fitting), responses, strict=True))
    refused = Response(text="", tokens=0, thinking=0, finish=PROMPT_TOO_LONG, end_reason="none")
    answered = [found.get((problem.index, number), refused) for problem, number in drawn]
    reward = resolve_reward(evaluation.reward, problems[0].source)
    right = grade([response.text for response in answered], [problem.answers for problem, _ in drawn], reward)
    return [
        Sample(problem=problem.index, sample=number, correct=correct, response=response)
        for (problem, number), correct, response in zip(drawn, right, answered, strict=True)
    ]
