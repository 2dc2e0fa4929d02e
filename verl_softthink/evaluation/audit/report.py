"""An audit from beginning to end: the engine, progress, table and verdict, and the files that were asked for."""

import logging
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.progress import Progress

from verl_softthink.bench.report import hardware, versions
from verl_softthink.evaluation.audit.arms import ARMS, AS_THEY_ARE
from verl_softthink.evaluation.audit.run import Audit, Auditor
from verl_softthink.evaluation.audit.summary import sentences, summarise, table
from verl_softthink.evaluation.engine import Engine
from verl_softthink.evaluation.run import COLUMNS, title_of
from verl_softthink.files.checkpoint import check_model, load_tokenizer
from verl_softthink.files.digests import file_digest, model_digest
from verl_softthink.files.writing import write_json
from verl_softthink.report.audit_figure import plot_audit

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Outputs:
    """Where an audit is written beside the terminal; None for nowhere."""

    json: Path | None = None
    plot: Path | None = None


def report(audit: Audit, data: Path, outputs: Outputs, console: Console) -> dict:
    """Run an audit and show it.

    Args:
        data: the file of the problems.

    Returns:
        what stands in the JSON.

    Raises:
        FileError: the checkpoint is damaged.
        ValueError: naming the setting that does not fit.
    """
    check_model(audit.checkpoint)
    settings = _settings(audit, data)
    auditor = Auditor(audit, load_tokenizer(audit.checkpoint))
    with Progress(*COLUMNS, console=console) as progress:
        answers = len(audit.problems) * audit.per_problem * (1 + len(ARMS))
        task = progress.add_task("starting vLLM", total=answers)
        with Engine.opened(audit.checkpoint, audit.engine) as engine:
            audited = auditor.run(engine, lambda arm, count: progress.update(task, description=arm, advance=count))
    summary = summarise(audited, audit.seed)
    title = title_of(audit.checkpoint, data)
    console.print(table(summary, title))
    for sentence in sentences(summary):
        console.print(sentence, soft_wrap=True, markup=False, highlight=False)
    result = summary | {"settings": settings, "versions": versions(), "hardware": hardware()}
    if outputs.json is not None:
        write_json(result, outputs.json)
        logger.info("wrote %s", outputs.json)
    if outputs.plot is not None:
        plot_audit(summary["accuracy"], outputs.plot, baseline=AS_THEY_ARE, title=title)
    return result


def _settings(audit: Audit, data: Path) -> dict:
    """What the numbers depend on, as JSON values."""
    return {
        "checkpoint": str(audit.checkpoint),
        "checkpoint_sha256": model_digest(audit.checkpoint),
        "data": str(data),
        "data_sha256": file_digest(data),
        "law": audit.mode.law.model_dump(),
        "filter": audit.mode.filter.model_dump(),
        "phase": audit.phase.model_dump(),
        "samples": audit.per_problem,
        "reward": audit.reward,
        "pause": audit.pause,
        "seed": audit.seed,
        "max_prompt_length": audit.engine.max_prompt_length,
        "max_tokens": audit.engine.max_tokens,
    }
