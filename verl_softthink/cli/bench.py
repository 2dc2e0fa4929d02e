"""``verl-softthink bench ...``"""

from pathlib import Path
from typing import Annotated

import typer

from verl_softthink.cli import problem_options as options
from verl_softthink.standalone import choose_platform

bench = typer.Typer(no_args_is_help=True, help="Ratios measured in one run, interleaved; medians.")

JsonPath = Annotated[Path | None, typer.Option("--json", help="Also write the result, with hardware and versions.")]


def _known_law(name: str) -> str:
    from verl_softthink.laws import get_law

    try:
        return get_law(name).name
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error


def _possible_width(candidates: int) -> int:
    from verl_softthink.config.settings import MOST_CANDIDATES

    if candidates > MOST_CANDIDATES:
        raise typer.BadParameter(f"{candidates} candidates: a mixture has at most {MOST_CANDIDATES}")
    return candidates


@bench.command("rollout")
def bench_rollout(
    model: Annotated[Path | None, typer.Option(help="Checkpoint; the pocket reasoner by default.")] = None,
    law: Annotated[str, typer.Option(help="Any law, by name.", callback=_known_law)] = "gumbel",
    batch: Annotated[int, typer.Option(min=1, help="Requests at once.")] = 32,
    tokens: Annotated[int, typer.Option(min=1, help="Tokens per response.")] = 128,
    repeats: Annotated[int, typer.Option(min=1)] = 5,
    candidates: Annotated[int, typer.Option(min=1, help="Candidates of a mixture.", callback=_possible_width)] = 5,
    compile_step: Annotated[
        bool, typer.Option(help="Fuse the soft step with torch.compile; a CPU needs a C++ compiler, and a minute.")
    ] = False,
    json: JsonPath = None,
) -> None:
    """Throughput of soft over ordinary requests in one vLLM engine."""
    choose_platform()
    from verl_softthink.bench import rollout
    from verl_softthink.bench.report import report
    from verl_softthink.pocket import checkpoint_path

    result = rollout.run(
        model or checkpoint_path(),
        law=law,
        batch=batch,
        tokens=tokens,
        repeats=repeats,
        candidates=candidates,
        compile_step=compile_step,
    )
    report(result, json)


@bench.command("likelihood")
def bench_likelihood(
    quick: Annotated[bool, typer.Option(help="A small model, for a look.")] = False, json: JsonPath = None
) -> None:
    """Time of a soft over a discrete training pass (forward and backward) of the same tokens."""
    choose_platform()
    from verl_softthink.bench import likelihood
    from verl_softthink.bench.report import report

    report(likelihood.run(likelihood.QUICK if quick else likelihood.FULL), json)


@bench.command("head")
def bench_head(
    quick: Annotated[bool, typer.Option(help="A small model, for a look.")] = False, json: JsonPath = None
) -> None:
    """Memory and time of a training pass with the output head in pieces over one that holds all logits."""
    choose_platform()
    from verl_softthink.bench import head
    from verl_softthink.bench.report import report

    report(head.run(head.QUICK if quick else head.FULL), json)


@bench.command("prefix")
def bench_prefix(
    quick: Annotated[bool, typer.Option(help="A small model, for a look.")] = False, json: JsonPath = None
) -> None:
    """Time and tokens of a training pass over trees, shared prefixes computed once over once per leaf."""
    choose_platform()
    from verl_softthink.bench import shared_prefix
    from verl_softthink.bench.report import report

    report(shared_prefix.run(shared_prefix.QUICK if quick else shared_prefix.FULL), json)


@bench.command("gradient")
def bench_gradient(
    data: options.Data,
    checkpoint: Annotated[Path | None, typer.Option(help="Model directory; the pocket reasoner by default.")] = None,
    modes: Annotated[
        str, typer.Option(help="'trainable' (every law with a likelihood), or some of eval's modes, with commas.")
    ] = "trainable",
    override: Annotated[
        list[str] | None, typer.Option(help="MODE.KEY=VALUE, e.g. gaussian.law.gamma=1; may be repeated.")
    ] = None,
    batches: Annotated[int, typer.Option(help="Independent batches; their gradients are held in host memory.")] = 16,
    prompts: Annotated[int, typer.Option(min=1, help="Prompts of a batch.")] = 16,
    responses: Annotated[int, typer.Option(help="Responses to each prompt.")] = 8,
    loss: Annotated[str, typer.Option(help="reinforce (rloo, summed) or grpo (by group, token mean).")] = "reinforce",
    answer_temperature: Annotated[float, typer.Option(min=0, help="Of ordinary tokens; 0 is greedy.")] = 1.0,
    end_of_thinking: options.EndOfThinking = "</think>",
    budget: options.Budget = None,
    phase: options.Phase = None,
    max_tokens: options.MaxTokens = 1024,
    max_prompt_length: Annotated[int, typer.Option(min=1, help="Longest prompt.")] = 1024,
    micro_batch: Annotated[int, typer.Option(min=1, help="Responses of a forward pass at most.")] = 32,
    prompt: options.Prompt = "boxed",
    reward: options.Reward = "auto",
    max_num_seqs: options.MaxNumSeqs = 64,
    seed: int = 0,
    json: JsonPath = None,
) -> None:
    """Signal-to-noise of the policy gradient by law and group of parameters, from independent batches of rollouts."""
    choose_platform()
    from rich.console import Console

    from verl_softthink.config.base import parse
    from verl_softthink.config.settings import PhaseSettings
    from verl_softthink.data.prompts import PROMPTS
    from verl_softthink.evaluation.engine import EngineSettings
    from verl_softthink.evaluation.gradient.losses import LOSSES
    from verl_softthink.evaluation.gradient.report import table
    from verl_softthink.evaluation.gradient.run import GradientBench, roll_out, signals
    from verl_softthink.evaluation.modes import read_modes, read_pairs
    from verl_softthink.evaluation.problems import read_problems
    from verl_softthink.evaluation.scoring import REWARDS
    from verl_softthink.files.writing import write_json
    from verl_softthink.laws import LAWS
    from verl_softthink.pocket import checkpoint_path

    options.known("--prompt", prompt, PROMPTS)
    options.known("--reward", reward, REWARDS)
    options.known("--loss", loss, LOSSES)
    trainable = ",".join(name for name, law in LAWS.items() if law.trainable)
    chosen = read_modes(trainable if modes == "trainable" else modes, override or ())
    values = {"end_of_thinking": end_of_thinking, "budget": budget} | read_pairs("--phase", phase or ())
    measured = GradientBench(
        checkpoint=checkpoint or checkpoint_path(),
        problems=read_problems(data, PROMPTS[prompt]),
        modes=chosen,
        phase=parse(PhaseSettings, values, "--phase: softthink.phase"),
        batches=batches,
        prompts=prompts,
        responses=responses,
        loss=loss,
        reward=reward,
        micro_batch=micro_batch,
        seed=seed,
        engine=EngineSettings.of_modes(
            chosen,
            max_prompt_length=max_prompt_length,
            max_tokens=max_tokens,
            max_num_seqs=max_num_seqs,
            answer_temperature=answer_temperature,
        ),
    )
    result = signals(measured, roll_out(measured))
    Console().print(table(result))
    if json is not None:
        write_json(result, json)


def budget() -> None:
    """Memory and time of a training step on 8 GPUs, computed: GRPO's share, and what soft thoughts add."""
    from verl_softthink.bench.budget import table

    typer.echo(table())


def add_to(app: typer.Typer) -> None:
    """Add the group ``bench``, and ``budget``, which measures nothing."""
    app.add_typer(bench, name="bench")
    app.command()(budget)
