"""Where phase control stands behind a soft prefix, read off its trace: what the state machine would remember.

Only the last position's state is read by the next step, beside the tokens that a marker may have begun in and the
flags of soft positions. ``phase.py`` says what each number means.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from verl_softthink.rollout.phase import ANSWERING, FORCING, HARD, PREFIXING, THINKING
from verl_softthink.rollout.request import SoftRequest
from verl_softthink.trace import SoftTrace


@dataclass(frozen=True)
class ResumedPhase:
    """The state after the last position of a prefix; columns of ``phase_history.COLUMNS``.

    Attributes:
        phase, placed, cold, answered: as in ``PhaseState``.
        reference: nats, entropy of the first step of the block under way.
        steps, switches: as in ``SwitchState``.
    """

    phase: int
    placed: int = 0
    cold: int = 0
    answered: int = 0
    reference: float = 0.0
    steps: int = 0
    switches: int = 0


def resumed_phase(trace: SoftTrace, tokens: list[int], request: SoftRequest) -> ResumedPhase:
    """The state behind P positions.

    Args:
        trace: the prefix, with its hard positions.
        tokens: P shown tokens.
        request: the continuation's settings, under which thinking goes on.

    Raises:
        ValueError: when the trace is none that phase control leaves behind under these settings.
    """
    end = trace.end_of_thinking
    if end is None:
        return _thinking(trace, request)
    ended = "softthink.prefix: thinking ends at position"
    if trace.end_reason not in ("marker", "budget", "cold_stop", "switches"):
        raise ValueError(f"{ended} {end} for the reason {trace.end_reason!r}, behind which nothing can be continued")
    if (trace.soft | trace.hard)[end:].any() or trace.drawn[end + 1 :].any():
        raise ValueError(f"{ended} {end}, and goes on behind it; use encode_prefix(trace) on a trace of the engine")
    by_itself = trace.end_reason == "marker"
    placed = list(request.answer_prefix if by_itself else request.lead_in)
    start = end + int(trace.drawn[end])
    behind = len(tokens) - start
    forced = trace.forced[start:]
    if tokens[start : start + len(placed)] != placed[:behind] or not forced[: len(placed)].all():
        key = "answer_prefix" if by_itself else "lead_in"
        raise ValueError(
            f"{ended} {end} ({trace.end_reason}) and goes on with {tokens[start : start + len(placed)]}, where "
            f"softthink.phase.{key} places {placed}; continue it with the settings that it was drawn with"
        )
    if forced[len(placed) :].any():
        raise ValueError(f"{ended} {end}, and its answer holds a token that was placed; cut the trace before it")
    if behind < len(placed):
        return ResumedPhase(PREFIXING if by_itself else FORCING, placed=behind)
    return ResumedPhase(ANSWERING, placed=len(placed), answered=behind - len(placed))


def _thinking(trace: SoftTrace, request: SoftRequest) -> ResumedPhase:
    count = len(trace)
    if not request.switches and trace.hard.any():
        raise ValueError(
            "softthink.prefix holds ordinary tokens of thinking, which softthink.phase.switches=0 never leaves; "
            "continue it with the switches that it was drawn with"
        )
    if (request.cold_length or request.switches) and trace.entropy.isnan().any():
        raise ValueError(
            f"softthink.prefix has no entropies, which phase.cold_length={request.cold_length} and "
            f"phase.switches={request.switches} go by; draw it with the same settings, or with record_entropy=true"
        )
    warm = (~(trace.entropy < request.cold_entropy)).nonzero()
    changes = (trace.hard.diff().nonzero() + 1)[:, 0]
    block = int(changes[-1]) if len(changes) else 0
    return ResumedPhase(
        HARD if trace.hard[-1] else THINKING,
        cold=count - 1 - int(warm[-1, 0]) if len(warm) else count,
        reference=float(trace.entropy[block]),
        steps=count - block,
        switches=len(changes),
    )


def history_rows(
    columns: tuple[str, ...], trace: SoftTrace, tokens: list[int], state: ResumedPhase, text: int
) -> Tensor:
    """[P, C] int32 rows of ``PhaseHistory``.

    Args:
        columns: its ``COLUMNS``.
        text: state of the text marker before the last token.
    """
    last = {name: value for name, value in vars(state).items() if name != "reference"} | {"text": text}
    last["reference"] = int(torch.tensor(state.reference, dtype=torch.float32).view(torch.int32))
    rows = torch.zeros(len(trace), len(columns), dtype=torch.int32)
    rows[-1] = torch.tensor([last.get(name, 0) for name in columns], dtype=torch.int32)
    rows[:, columns.index("shown")] = torch.tensor(tokens, dtype=torch.int32)
    rows[:, columns.index("soft")] = trace.soft.int()
    return rows
