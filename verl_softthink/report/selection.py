"""Which dump of a run, and which of its responses, are worth a page: the most mixed ones, and their counterparts."""

import re
from collections.abc import Sequence
from pathlib import Path

from verl_softthink.config.settings import LawSettings
from verl_softthink.dump import DumpedResponse, dump_path
from verl_softthink.laws import LAWS, Action

_PATTERN = "traces-*.safetensors"
_STEP = re.compile(r"traces-(\d+)")


def find_dump(path: Path, step: int | None = None) -> Path:
    """The rollout dump of a run.

    Args:
        path: a dump, or the directory of a run (or its ``rollouts``).
        step: the training step; the last one by default.

    Raises:
        FileNotFoundError: no such dump; the message names the steps that there are.
    """
    if path.is_file():
        return path
    folder = path / "rollouts" if (path / "rollouts").is_dir() else path
    steps = sorted(int(found[1]) for file in folder.glob(_PATTERN) if (found := _STEP.fullmatch(file.stem)))
    if not steps:
        raise FileNotFoundError(
            f"{path} has no {_PATTERN}: give a dump or the directory of a run with trainer.rollout_data_dir set"
        )
    if step is not None and step not in steps:
        raise FileNotFoundError(f"{folder} has no dump of step {step}; it has steps {', '.join(map(str, steps))}")
    return dump_path(folder, steps[-1] if step is None else step)


def mixedness(response: DumpedResponse, law: LawSettings) -> float:
    """Mean effective number of tokens of the soft positions; 0 without a soft position."""
    trace = response.trace
    if not trace.soft.any():
        return 0.0
    action = Action(ids=trace.ids[trace.soft].long(), values=trace.values[trace.soft])
    return float(LAWS[law.name].mixture(action, law.columns(len(action.ids))).effective_tokens.mean())


def most_mixed(responses: Sequence[DumpedResponse], law: LawSettings, count: int) -> list[DumpedResponse]:
    """The most mixed response of each prompt, the most mixed prompts first; equally mixed ones by their reward."""
    chosen: dict[tuple[int, ...], DumpedResponse] = {}
    for response in sorted(responses, key=lambda item: (-mixedness(item, law), -item.reward)):
        chosen.setdefault(_prompt(response), response)
    return list(chosen.values())[:count]


def counterparts(chosen: Sequence[DumpedResponse], others: Sequence[DumpedResponse]) -> list[DumpedResponse | None]:
    """For each response the first of ``others`` to the same prompt, whatever it earned; None where there is none."""
    by_prompt: dict[tuple[int, ...], DumpedResponse] = {}
    for other in others:
        by_prompt.setdefault(_prompt(other), other)
    return [by_prompt.get(_prompt(response)) for response in chosen]


def shared_prompts(responses: Sequence[DumpedResponse], others: Sequence[DumpedResponse]) -> list[DumpedResponse]:
    """Those responses whose prompt is in both dumps.

    Raises:
        ValueError: there is none.
    """
    known = {_prompt(other) for other in others}
    found = [response for response in responses if _prompt(response) in known]
    if not found:
        raise ValueError(
            "the two dumps have no prompt in common: take the same step of two runs with the same data and data.seed"
        )
    return found


def _prompt(response: DumpedResponse) -> tuple[int, ...]:
    return tuple(response.prompt_ids.tolist())
