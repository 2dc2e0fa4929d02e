"""``verl-softthink data ...``: one command per data set of the hub, your own files, and the generated ones."""

from pathlib import Path
from typing import Annotated

import typer

data = typer.Typer(no_args_is_help=True, help="Data sets as verl parquet files.")

Out = Annotated[Path, typer.Option(help="Directory of the parquet files.")]
Prompt = Annotated[str | None, typer.Option(help="How questions are asked: boxed, final_answer ... (data/prompts.py).")]


def _add_source(name: str, summary: str) -> None:
    @data.command(name, help=summary)
    def command(
        out: Out = Path("outputs/data"),
        file: Annotated[
            list[str] | None,
            typer.Option(help="SPLIT=FILE: a .jsonl, .json or .parquet instead of the hub; repeat for more."),
        ] = None,
        prompt: Prompt = None,
        limit: Annotated[int | None, typer.Option(min=1, help="At most so many problems of each split.")] = None,
        skip_unreadable: Annotated[bool, typer.Option("--skip-unreadable", help="Leave such records out.")] = False,
    ) -> None:
        from verl_softthink.data.prepare import parse_files, prepare

        prepare(name, out, files=parse_files(file or []), prompt=prompt, limit=limit, skip=skip_unreadable)


for _name, _summary in (
    ("gsm8k", "GSM8K: grade-school word problems; train and test."),
    ("math", "MATH: competition problems; train and test."),
    ("math500", "MATH-500: its usual test subset."),
    ("deepscaler", "DeepScaleR-Preview: 40 thousand training problems."),
    ("dapo", "DAPO-Math: 17 thousand training problems with integer answers."),
    ("aime24", "AIME 2024: 30 test problems."),
    ("aime25", "AIME 2025: 30 test problems."),
    ("own", "Your questions and answers: --file train=FILE, and --file test=FILE."),
):
    _add_source(_name, _summary)


@data.command("reasoning-gym")
def reasoning_gym(
    task: Annotated[str, typer.Option(help="Name of a reasoning-gym data set, e.g. chain_sum.")],
    out: Out = Path("outputs/data"),
    train: Annotated[int, typer.Option(min=1, help="Training problems.")] = 4096,
    test: Annotated[int, typer.Option(min=1, help="Test problems.")] = 128,
    seed: Annotated[int, typer.Option(help="Seed of the training problems; the test has the next one.")] = 0,
) -> None:
    """Problems made by reasoning-gym, graded by verl_softthink.data.reasoning_gym."""
    from verl_softthink.data.reasoning_gym import prepare

    # Test first: a problem that both seeds make is left out of training.
    prepare(task, out, {"test": test, "train": train}, seed=seed)


@data.command("word-problems")
def word_problems(
    out: Out = Path("outputs/data/word_problems"),
    train: Annotated[int, typer.Option(min=1, help="Training problems.")] = 4096,
    heldout: Annotated[int, typer.Option(min=1, help="Held-out problems.")] = 128,
    seed: Annotated[int, typer.Option(help="Seed of both draws.")] = 0,
) -> None:
    """Sums and differences in plain language, for a small model."""
    from verl_softthink.data.word_problems import main

    main(out=out, train=train, heldout=heldout, digits=[1], seed=seed)


OutOfTask = Annotated[Path, typer.Argument(help="Directory of the model's start and of all files.")]
Problems = Annotated[int, typer.Option(min=1, help="Problems for reinforcement learning.")]
HeldOut = Annotated[int, typer.Option(min=1, help="Held-out problems.")]
FineTuning = Annotated[int, typer.Option(min=1, help="Problems for supervised fine-tuning.")]
Listed = Annotated[int, typer.Option(min=2, help="C: listed states, of which one is right.")]
TaskSeed = Annotated[int, typer.Option(help="Seed of the problems and of the model's weights.")]


@data.command("permutation-words")
def permutation_words(
    out: OutOfTask,
    n: Annotated[int, typer.Option(min=2, help="States.")] = 24,
    symbols: Annotated[int, typer.Option(min=1, help="Symbols, a fixed permutation of the states each.")] = 3,
    length: Annotated[int, typer.Option(min=1, help="T: symbols of a word; one thought each.")] = 8,
    k: Annotated[int, typer.Option(min=1, help="Start states, all of which a thought holds.")] = 4,
    choices: Listed = 4,
    permutation_seed: Annotated[int, typer.Option(help="Seed of the permutations.")] = 0,
    train: Problems = 2048,
    val: HeldOut = 512,
    sft: FineTuning = 96_000,
    seed: TaskSeed = 0,
) -> None:
    """Sets of states carried by words of permutations: one soft thought does the work of k tokens."""
    from verl_softthink.data.superposition import prepare
    from verl_softthink.pocket.superposition.permutation_words import PermutationWords

    task = PermutationWords(n, symbols, length, k, choices, permutation_seed)
    prepare(task, out, train=train, val=val, sft=sft, seed=seed)


@data.command("graph-reachability")
def graph_reachability(
    out: OutOfTask,
    n: Annotated[int, typer.Option(min=2, help="Nodes.")] = 12,
    degree: Annotated[int, typer.Option(min=1, help="Successors of every node.")] = 2,
    length: Annotated[int, typer.Option(min=1, help="T: edges from the start; one thought each.")] = 3,
    k: Annotated[int, typer.Option(min=1, help="Nodes that are reached in exactly T edges, at least.")] = 4,
    choices: Listed = 4,
    train: Problems = 2048,
    val: HeldOut = 512,
    sft: FineTuning = 96_000,
    seed: TaskSeed = 0,
) -> None:
    """Reachability in a directed graph that stands in the prompt: a thought is the set of nodes after a step."""
    from verl_softthink.data.superposition import prepare
    from verl_softthink.pocket.superposition.graph_reachability import GraphReachability

    prepare(GraphReachability(n, degree, length, k, choices), out, train=train, val=val, sft=sft, seed=seed)


@data.command("soft-targets")
def soft_targets(
    model: Annotated[Path, typer.Option(help="The teacher: a checkpoint in Hugging Face's format.")],
    solutions: Annotated[Path, typer.Option(help="Questions with solutions: .jsonl, .json or .parquet.")],
    out: Annotated[Path, typer.Option(help="Parquet file to write, for +softthink=soft_sft.")],
    end_of_thinking: Annotated[str, typer.Option(help="Text that ends thinking in every solution.")] = "</think>",
    top_k: Annotated[int, typer.Option(min=1, help="Most candidates that the teacher gives a thought.")] = 32,
    temperature: Annotated[float, typer.Option(help="Divides the teacher's logits; above 0.")] = 1.0,
    solution_weight: Annotated[
        float, typer.Option(min=0, max=1, help="Share of the solution's own token in each target.")
    ] = 0.5,
    prompt: Annotated[str, typer.Option(help="How bare questions are asked; records with a prompt keep it.")] = "boxed",
    limit: Annotated[int | None, typer.Option(min=1, help="Only the first solutions of the file.")] = None,
) -> None:
    """Soft targets for fine-tuning: a frozen teacher's distributions along given solutions."""
    from verl_softthink.data.prompts import PROMPTS
    from verl_softthink.data.teacher_targets import TeacherSettings, prepare

    if prompt not in PROMPTS:
        raise ValueError(f"--prompt {prompt} is unknown: use one of {', '.join(PROMPTS)}")
    settings = TeacherSettings(end_of_thinking, top_k, temperature, solution_weight)
    prepare(model, solutions, out, settings, ask=PROMPTS[prompt], limit=limit)


def add_to(app: typer.Typer) -> None:
    """Add the group ``data``."""
    app.add_typer(data, name="data")
