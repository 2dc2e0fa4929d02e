"""What a run leaves for its reader: summary.json, curve.png and trace.html."""

from pathlib import Path

from rich.console import Console
from rich.table import Table
from transformers import AutoTokenizer

from verl_softthink.config.settings import LawSettings
from verl_softthink.pocket import checkpoint_path
from verl_softthink.process_reward.fields import PIECE, REWARD
from verl_softthink.report.curve import plot_curve
from verl_softthink.report.dump import DumpedResponse, read_dump
from verl_softthink.report.summary import build_summary, write_summary
from verl_softthink.report.trace_page import TracedResponse, render_page

#: Responses on the page of a run: enough to compare, few enough to read.
PAGE_RESPONSES = 4


def write_overview(run: Path, model: Path | None = None) -> None:
    """Summarise a run in its own directory.

    Args:
        run: holds ``metrics*.jsonl`` and, where rollouts were dumped, ``rollouts/traces-<step>.safetensors``.
        model: checkpoint for the tokenizer; the pocket reasoner by default.
    """
    summary = build_summary(run)
    write_summary(summary, run / "summary.json")
    plot_curve([(run.name, run)], run / "curve.png", title=f"SofT-GRPO: {run.name}")
    dumps = sorted((run / "rollouts").glob("traces-*.safetensors"), key=lambda path: int(path.stem.split("-")[1]))
    if dumps:
        write_trace_page(dumps[-1], model, run / "trace.html", PAGE_RESPONSES)
    table = Table(title=str(run), show_header=False)
    for key, value in summary.model_dump().items():
        table.add_row(key, f"{value:.3f}" if isinstance(value, float) else str(value))
    table.add_row("curve", str(run / "curve.png"))
    if dumps:
        table.add_row("soft traces", str(run / "trace.html"))
    Console().print(table)


def write_trace_page(dump: Path, model: Path | None, out: Path, count: int) -> None:
    """Show ``count`` responses of a dump: the best rewarded one of each prompt; ``model`` as in ``write_overview``."""
    responses, law = read_dump(dump)
    tokenizer = AutoTokenizer.from_pretrained(model or checkpoint_path())
    best: dict[str, DumpedResponse] = {}
    for response in sorted(responses, key=lambda response: -response.reward):
        best.setdefault(response.key.rsplit("_", 2)[0], response)
    pages = [
        TracedResponse(
            trace=response.trace,
            token_ids=response.response_ids.tolist(),
            tokenizer=tokenizer,
            law=LawSettings(**law),
            prompt=tokenizer.decode(response.prompt_ids.tolist()),
            answer=response.answer,
            reward=response.reward,
            pieces=_listed(response, PIECE),
            piece_rewards=_listed(response, REWARD),
        )
        for response in list(best.values())[:count]
    ]
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(render_page(pages, title=f"Soft traces: {dump.name}"), encoding="utf-8")


def _listed(response: DumpedResponse, name: str) -> list[float] | None:
    """A per-position field that a method has added, where it has."""
    return response.extra[name].tolist() if name in response.extra else None
