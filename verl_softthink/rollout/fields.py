"""A soft trace as fields of a row of verl's queue, and back."""

from dataclasses import replace

import torch
from torch import Tensor

from verl_softthink.config.settings import LawSettings
from verl_softthink.likelihood.fields import DRAWN, FED, IDS, SCALE, SEED, SOFT, VALUES
from verl_softthink.trace import SoftTrace

#: Key of ``TokenOutput.extra_fields`` that carries packed rows [T, 4 + 2K + H] int32 from the server to the agent loop.
ROWS_FIELD = "softthink_rows"
#: The same for the training steps of the weights that drew each position, T integers; of asynchronous trainers alone.
VERSIONS_FIELD = "softthink_versions"
#: Column of the prompts: how many rows of the same step had the same prompt before this one.
OCCURRENCE = "softthink_occurrence"
#: Per-position fields of a trajectory beside those that the likelihood engine reads.
ENTROPY, FORCED, DISCRETE = "softthink_entropy", "softthink_forced", "softthink_discrete"
#: The one that rows of asynchronous trainers have.
VERSION = "softthink_version"
#: Keys of a trajectory's ``extra_fields``: why thinking ended; whether the answer was cut at its budget; how many
#: positions of thinking were ordinary tokens.
END_REASON, ANSWER_CUT, DISCRETE_POSITIONS = (
    "softthink_end_reason",
    "softthink_answer_cut",
    "softthink_discrete_positions",
)
#: All per-position fields that a trace of one policy may have in the queue; those of drawn embeddings only where the
#: law draws them.
TRACE_ROW_FIELDS = (SOFT, DRAWN, FORCED, DISCRETE, IDS, VALUES, ENTROPY, SCALE, FED, SEED)


def to_fields(trace: SoftTrace, law: LawSettings) -> dict[str, Tensor]:
    """[T] and [T, K] fields, and where the law draws embeddings [T] scales with [T, H] embeddings or [T] seeds."""
    fields = {
        SOFT: trace.soft,
        DRAWN: trace.drawn,
        FORCED: trace.forced,
        DISCRETE: trace.discrete,
        IDS: trace.ids,
        VALUES: trace.values,
        ENTROPY: trace.entropy,
    }
    if law.carries_embedding:
        fields |= {SCALE: trace.scale, FED: trace.fed}
    elif law.rebuilds_embedding:
        fields |= {SCALE: trace.scale, SEED: trace.seed}
    return fields if trace.version is None else fields | {VERSION: trace.version}


def to_extra_fields(trace: SoftTrace) -> dict[str, object]:
    """What a row's ``extra_fields`` hold of the trace."""
    return {END_REASON: trace.end_reason, ANSWER_CUT: trace.cut, DISCRETE_POSITIONS: int(trace.discrete.sum())}


def from_row(row: dict) -> SoftTrace:
    """The trace in a row that has ``rollout_log_probs`` and ``extra_fields``; scales and embeddings where it has them.

    Its log-probs are those of all tokens, not of the drawn ones alone.
    """
    extra = row["extra_fields"]
    return SoftTrace(
        soft=row[SOFT].bool(),
        drawn=row[DRAWN].bool(),
        forced=row[FORCED].bool(),
        discrete=row[DISCRETE].bool(),
        ids=row[IDS],
        values=row[VALUES],
        log_prob=row["rollout_log_probs"],
        entropy=row[ENTROPY],
        end_reason=extra[END_REASON],
        cut=bool(extra.get(ANSWER_CUT, False)),
        scale=row.get(SCALE),
        fed=row.get(FED),
        seed=row.get(SEED),
        version=row.get(VERSION),
    )


def with_seed(trace: SoftTrace, law: LawSettings, seed: int) -> SoftTrace:
    """The trace of one request, with its seed where drawn embeddings are rebuilt from it."""
    return replace(trace, seed=torch.full((len(trace),), seed)) if law.rebuilds_embedding else trace
