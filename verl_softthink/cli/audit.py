"""``verl-softthink audit``: does a checkpoint use its mixtures?"""

from pathlib import Path
from typing import Annotated

import typer

from verl_softthink.cli import problem_options as options
from verl_softthink.standalone import choose_platform


def add_to(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command("audit")(audit)


def audit(
    checkpoint: Annotated[Path, typer.Argument(help="Model directory in Hugging Face's format.")],
    data: options.Data,
    law: Annotated[str, typer.Option(help="The law that draws thoughts, or a mode of eval.")] = "gumbel",
    override: Annotated[
        list[str] | None, typer.Option(help="KEY=VALUE, e.g. law.tau=0.2, filter.top_p=1; may be repeated.")
    ] = None,
    samples: Annotated[int, typer.Option(min=1, help="Thoughts of each problem.")] = 1,
    limit: options.Limit = None,
    pause: Annotated[str, typer.Option(help="Text of the token that stands in the place of thoughts.")] = ".",
    json: Annotated[Path | None, typer.Option(help="JSON file to write.")] = None,
    plot: Annotated[Path | None, typer.Option(help="PNG file to write.")] = None,
    end_of_thinking: options.EndOfThinking = "</think>",
    budget: options.Budget = None,
    phase: options.Phase = None,
    max_tokens: options.MaxTokens = 1024,
    max_prompt_length: Annotated[int, typer.Option(min=1, help="Longest prompt.")] = 1024,
    prompt: options.Prompt = "boxed",
    reward: options.Reward = "auto",
    max_num_seqs: options.MaxNumSeqs = 64,
    tensor_parallel_size: options.TensorParallelSize = 1,
    seed: Annotated[int, typer.Option(min=0, help="Of noise, shuffles and bootstrap.")] = 0,
) -> None:
    """Audit a checkpoint: accuracy with its thoughts as they are, one-hot, uniform, shuffled, pauses, and removed."""
    choose_platform()
    from rich.console import Console

    from verl_softthink.config.base import parse
    from verl_softthink.config.settings import PhaseSettings
    from verl_softthink.data.prompts import PROMPTS
    from verl_softthink.evaluation.audit.report import Outputs, report
    from verl_softthink.evaluation.audit.run import Audit
    from verl_softthink.evaluation.engine import EngineSettings
    from verl_softthink.evaluation.modes import read_mode, read_pairs
    from verl_softthink.evaluation.problems import read_problems
    from verl_softthink.evaluation.scoring import REWARDS

    options.known("--prompt", prompt, PROMPTS)
    options.known("--reward", reward, REWARDS)
    mode = read_mode("--law", law, override or ())
    values = {"end_of_thinking": end_of_thinking, "budget": budget} | read_pairs("--phase", phase or ())
    chosen = Audit(
        checkpoint=checkpoint,
        problems=read_problems(data, PROMPTS[prompt])[:limit],
        mode=mode,
        phase=parse(PhaseSettings, values, "--phase: softthink.phase"),
        samples=samples,
        reward=reward,
        pause=pause,
        seed=seed,
        engine=EngineSettings.of_modes(
            [mode],
            max_prompt_length=max_prompt_length,
            max_tokens=max_tokens,
            max_num_seqs=max_num_seqs,
            tensor_parallel_size=tensor_parallel_size,
        ),
    )
    report(chosen, data, Outputs(json=json, plot=plot), Console())
