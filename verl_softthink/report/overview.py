"""What a run leaves for its reader: summary.json, curve.png and trace.html."""

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table
from transformers import AutoTokenizer

from verl_softthink.config.settings import LawSettings
from verl_softthink.dump import DumpedResponse, read_dump
from verl_softthink.pocket import checkpoint_path
from verl_softthink.report.curve import plot_curve
from verl_softthink.report.page_parts import PageParts
from verl_softthink.report.selection import counterparts, find_dump, most_mixed, shared_prompts
from verl_softthink.report.summary import build_summary, write_summary
from verl_softthink.report.trace_page import TracedResponse, render_page

#: Responses on the page of a run: enough to compare, few enough to read.
PAGE_RESPONSES = 4


def write_overview(
    run: Path, model: Path | None = None, validation: str | None = None, parts: Sequence[PageParts] = ()
) -> None:
    """Summarise a run in its own directory.

    Args:
        run: holds ``metrics*.jsonl`` and, where rollouts were dumped, ``rollouts/traces-<step>.safetensors``.
        model: checkpoint for the tokenizer; the pocket reasoner by default.
        validation: name of the validation metric; the run's only accuracy by default.
        parts: of the page, by methods.

    Raises:
        ValueError: there are several accuracies to choose from, or none before and after training.
    """
    summary = build_summary(run, validation=validation)
    write_summary(summary, run / "summary.json")
    plot_curve([(run.name, run)], run / "curve.png", title=run.name, validation=validation)
    dumped = any((run / "rollouts").glob("traces-*.safetensors"))
    if dumped:
        write_trace_page(find_dump(run), model, run / "trace.html", PAGE_RESPONSES, parts=parts)
    table = Table(title=str(run), show_header=False)
    for key, value in summary.model_dump().items():
        table.add_row(key, f"{value:.3f}" if isinstance(value, float) else str(value))
    table.add_row("curve", str(run / "curve.png"))
    if dumped:
        table.add_row("soft traces", str(run / "trace.html"))
    Console().print(table)


def write_trace_page(
    dump: Path,
    model: Path | None,
    out: Path,
    count: int,
    beside: Path | None = None,
    parts: Sequence[PageParts] = (),
) -> None:
    """Show ``count`` responses of a dump: the most mixed one of each prompt, the most mixed first.

    Args:
        model: as in ``write_overview``.
        beside: a second dump, whose first response to the same prompt is shown beside each.
        parts: of the page, by methods.

    Raises:
        ValueError: the tokenizer is not that of the model that wrote the dump, or the dumps share no prompt.
    """
    responses, law = read_dump(dump)
    others, other_law = read_dump(beside) if beside else ([], law)
    if beside:
        responses = shared_prompts(responses, others)
    tokenizer = AutoTokenizer.from_pretrained(model or checkpoint_path())
    chosen = most_mixed(responses, LawSettings(**law), count)
    pages = []
    for response, other in zip(chosen, counterparts(chosen, others), strict=True):
        pages.append(_traced(response, law, tokenizer, parts, pair="first" if other else None))
        if other:
            pages.append(_traced(other, other_law, tokenizer, parts, pair="second"))
    out.parent.mkdir(parents=True, exist_ok=True)
    title = f"Soft traces: {dump.name}" + (f" beside {beside.name}" if beside else "")
    trees = [tree for part in parts for tree in part.trees(responses, tokenizer)]
    out.write_text(render_page(pages, title=title, trees=trees), encoding="utf-8")


def _traced(
    response: DumpedResponse, law: dict, tokenizer, parts: Sequence[PageParts], pair: str | None
) -> TracedResponse:
    largest = int(max(response.prompt_ids.max(), response.response_ids.max()))
    if largest >= len(tokenizer):
        raise ValueError(
            f"the dump has token id {largest}, and the tokenizer only {len(tokenizer)} tokens: give the checkpoint "
            "that wrote it with --model"
        )
    added = {name: value for part in parts for name, value in part.of_response(response).items()}
    return TracedResponse(
        trace=response.trace,
        token_ids=response.response_ids.tolist(),
        tokenizer=tokenizer,
        law=LawSettings(**law),
        prompt=tokenizer.decode(response.prompt_ids.tolist()),
        answer=response.answer,
        reward=response.reward,
        pair=pair,
        **added,
    )
