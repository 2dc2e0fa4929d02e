"""``verl-softthink eval``: one checkpoint in several inference modes, on the real engine."""

from pathlib import Path
from typing import Annotated

import typer

from verl_softthink.cli import problem_options as options
from verl_softthink.standalone import choose_platform

#: pass@k is reported up to this power of two, as far as there are samples.
LARGEST_K = 32


def add_to(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command("eval")(evaluate)
    app.command("eval-table")(eval_table)
    app.command("entropy-profile")(entropy_profile)
    app.command("ood")(out_of_domain)


def evaluate(
    checkpoint: Annotated[Path, typer.Option(help="Model directory in Hugging Face's format.")],
    data: options.Data,
    modes: Annotated[
        str, typer.Option(help="'all' (six settings), or some of them and of the laws, with commas.")
    ] = "all",
    samples: Annotated[int, typer.Option(min=1, help="Responses per problem in modes that sample.")] = 32,
    k: Annotated[str | None, typer.Option(help="Values of k, with commas; default: powers of two.")] = None,
    out: Annotated[Path, typer.Option(help="Samples, eval.json, pass_at_k.png; continues.")] = Path("outputs/eval"),
    limit: options.Limit = None,
    override: Annotated[
        list[str] | None, typer.Option(help="MODE.KEY=VALUE, e.g. gumbel.law.tau=0.2; may be repeated.")
    ] = None,
    end_of_thinking: options.EndOfThinking = "</think>",
    budget: options.Budget = None,
    phase: options.Phase = None,
    max_tokens: options.MaxTokens = 1024,
    max_prompt_length: Annotated[int, typer.Option(min=1, help="Longest prompt; a longer one counts as wrong.")] = 1024,
    answer_temperature: Annotated[float, typer.Option(min=0, help="After thinking; 0 is greedy.")] = 0.0,
    prompt: options.Prompt = "boxed",
    reward: options.Reward = "auto",
    max_num_seqs: options.MaxNumSeqs = 64,
    tensor_parallel_size: options.TensorParallelSize = 1,
    seed: int = 0,
) -> None:
    """Evaluate a checkpoint: pass@1 and pass@k with 95 % bootstrap intervals over problems, table, JSON and plot."""
    choose_platform()
    from rich.console import Console

    from verl_softthink.config.base import parse
    from verl_softthink.config.settings import PhaseSettings
    from verl_softthink.data.prompts import PROMPTS
    from verl_softthink.evaluation import run
    from verl_softthink.evaluation.engine import EngineSettings
    from verl_softthink.evaluation.modes import read_modes, read_pairs
    from verl_softthink.evaluation.problems import read_problems
    from verl_softthink.evaluation.scoring import REWARDS

    options.known("--prompt", prompt, PROMPTS)
    options.known("--reward", reward, REWARDS)
    chosen = read_modes(modes, override or ())
    values = {"end_of_thinking": end_of_thinking, "budget": budget} | read_pairs("--phase", phase or ())
    evaluation = run.Evaluation(
        checkpoint=checkpoint,
        data=data,
        problems=read_problems(data, PROMPTS[prompt])[:limit],
        modes=chosen,
        phase=parse(PhaseSettings, values, "--phase: softthink.phase"),
        samples=samples,
        ks=_ks(k, samples),
        reward=reward,
        prompt=prompt,
        seed=seed,
        engine=EngineSettings.of_modes(
            chosen,
            max_prompt_length=max_prompt_length,
            max_tokens=max_tokens,
            max_num_seqs=max_num_seqs,
            tensor_parallel_size=tensor_parallel_size,
            answer_temperature=answer_temperature,
        ),
    )
    run.evaluate(evaluation, out, Console())


def eval_table(
    results: Annotated[list[str], typer.Argument(help="LABEL=eval.json of each run; seeds share a label.")],
    out: Annotated[Path, typer.Option(help="Directory of table.md and table.json.")] = Path("outputs/eval"),
) -> None:
    """One table of several runs' evaluations: mean and spread over seeds, in per cent."""
    from rich.console import Console

    from verl_softthink.evaluation.seed_table import write_table
    from verl_softthink.report.seeds import labelled

    Console(soft_wrap=True).print(write_table(labelled(results), out), markup=False)


def entropy_profile(
    runs: Annotated[list[str], typer.Argument(help="Runs or dumps as PATH or LABEL=PATH; of a run the last dump.")],
    out: Annotated[Path, typer.Option(help="PNG file to write.")] = Path("entropy_profile.png"),
    title: str = "",
) -> None:
    """Draw the mean next-token entropy by position of the chain of thought."""
    from verl_softthink.report.entropy_profile import plot_entropy_profiles
    from verl_softthink.report.seeds import labelled

    plot_entropy_profiles(labelled(runs), out, title=title)


def out_of_domain(
    checkpoints: Annotated[list[Path], typer.Argument(help="Model directories, such as before and after training.")],
    tasks: Annotated[
        str, typer.Option(help="Multiple-choice tasks of lm-evaluation-harness, with commas; or pocket_facts.")
    ] = "hellaswag,arc_challenge,mmlu",
    out: Annotated[Path, typer.Option(help="Directory of ood.json; continues.")] = Path("outputs/ood"),
    limit: Annotated[int | None, typer.Option(min=1, help="Questions of each task.")] = None,
    batch_size: Annotated[int, typer.Option(min=1)] = 16,
    seed: int = 0,
) -> None:
    """Out-of-domain check: negative log-likelihood of the right choice, by lm-evaluation-harness (extra: ood)."""
    from rich.console import Console
    from rich.table import Column, Table

    from verl_softthink.evaluation import out_of_domain as ood

    names = [name.strip() for name in tasks.split(",")]
    # Whole paths, as in ood.json: every checkpoint of verl's ends in the same name.
    table = Table(Column("checkpoint", overflow="fold"), "task", "NLL of the right choice", "accuracy", "questions")
    measured = ood.measure_all(checkpoints, names, out, limit=limit, batch_size=batch_size, seed=seed)
    for checkpoint, results in measured.items():
        for task, numbers in results.items():
            nll = "{mean:.3f} [{low:.3f}, {high:.3f}]".format(**numbers["nll"])
            table.add_row(checkpoint, task, nll, f"{numbers['accuracy']:.3f}", str(numbers["questions"]))
    Console().print(table)


def _ks(text: str | None, samples: int) -> list[int]:
    if text is None:
        return [2**power for power in range(LARGEST_K.bit_length()) if 2**power <= samples]
    try:
        ks = [int(part) for part in text.split(",")]
    except ValueError as error:
        raise typer.BadParameter(f"--k {text}: write whole numbers with commas, e.g. 1,4,16") from error
    outside = [k for k in ks if not 1 <= k <= samples]
    if outside:
        raise typer.BadParameter(f"--k {text}: {outside} must lie between 1 and --samples {samples}")
    return ks
