"""What a run leaves for its reader: summary.json, curve.png and trace.html."""

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from verl_softthink.config.settings import LawSettings
from verl_softthink.dump import DumpedResponse
from verl_softthink.errors import about_file
from verl_softthink.files.checkpoint import load_tokenizer
from verl_softthink.files.writing import write_text
from verl_softthink.pocket import checkpoint_path
from verl_softthink.report.curve import plot_curve
from verl_softthink.report.page_parts import PageParts
from verl_softthink.report.selection import counterparts, find_dump, most_mixed, shared_prompts
from verl_softthink.report.summary import build_summary, write_summary
from verl_softthink.report.trace_page import TracedResponse, render_page
from verl_softthink.report.traces import read_traces

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
        FileError: a dump is damaged, or written by a model with another tokenizer.
        ValueError: the dumps share no prompt.
    """
    responses, law = read_traces(dump)
    others, other_law = read_traces(beside) if beside else ([], law)
    if beside:
        responses = shared_prompts(responses, others)
    tokenizer = load_tokenizer(model or checkpoint_path())
    chosen = most_mixed(responses, law, count)
    pages = []
    for response, other in zip(chosen, counterparts(chosen, others), strict=True):
        with about_file(dump, ValueError):
            pages.append(_traced(response, law, tokenizer, parts, pair="first" if other else None))
        if other:
            with about_file(beside, ValueError):
                pages.append(_traced(other, other_law, tokenizer, parts, pair="second"))
    title = f"Soft traces: {dump.name}" + (f" beside {beside.name}" if beside else "")
    with about_file(dump, ValueError):
        trees = [tree for part in parts for tree in part.trees(responses, tokenizer)]
    write_text(render_page(pages, title=title, trees=trees), out)


def _traced(
    response: DumpedResponse, law: LawSettings, tokenizer, parts: Sequence[PageParts], pair: str | None
) -> TracedResponse:
    largest = max(response.prompt_ids.tolist() + response.response_ids.tolist(), default=0)
    if largest >= len(tokenizer):
        raise ValueError(
            f"it has token id {largest}, and the tokenizer only {len(tokenizer)} tokens: give the checkpoint that "
            "wrote it with --model"
        )
    added = {name: value for part in parts for name, value in part.of_response(response).items()}
    return TracedResponse(
        trace=response.trace,
        token_ids=response.response_ids.tolist(),
        tokenizer=tokenizer,
        law=law,
        prompt=tokenizer.decode(response.prompt_ids.tolist()),
        answer=response.answer,
        reward=response.reward,
        pair=pair,
        **added,
    )
