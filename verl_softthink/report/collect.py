"""From the rows of a training step in the TransferQueue to the responses of a dump, soft and discrete alike."""

import torch
from tensordict import TensorDict
from torch import Tensor

from verl_softthink.likelihood.fields import DRAWN, IDS, SOFT, VALUES
from verl_softthink.report.dump import DumpedResponse
from verl_softthink.rollout.fields import END_REASON, ENTROPY, FORCED
from verl_softthink.trace import SoftTrace

_COMMON = ("prompts", "responses", "rm_scores", "reward_model", "extra_fields", "old_log_probs")
_SOFT = (SOFT, DRAWN, FORCED, IDS, VALUES, ENTROPY, "rollout_log_probs")
#: Fields whose rows are Python objects.
_OBJECTS = ("reward_model", "extra_fields")


def field_names(*, soft: bool, extra: tuple[str, ...]) -> tuple[str, ...]:
    """The fields that ``responses`` reads; ``extra`` are per-position fields that stages add."""
    return _COMMON + (_SOFT if soft else ()) + extra


def responses(keys: list[str], data: TensorDict, *, extra: tuple[str, ...]) -> list[DumpedResponse]:
    """One response per key from jagged fields of ``len(keys)`` rows."""
    columns = {name: list(column) for name, column in data.items()}
    return [
        _response(key, {name: column[row] for name, column in columns.items()}, extra) for row, key in enumerate(keys)
    ]


def _response(key: str, row: dict, extra: tuple[str, ...]) -> DumpedResponse:
    row = row | {name: getattr(row[name], "data", row[name]) for name in _OBJECTS}
    answer = row["reward_model"].get("ground_truth")
    return DumpedResponse(
        key=key,
        prompt_ids=row["prompts"],
        response_ids=row["responses"],
        trace=_soft_trace(row) if SOFT in row else SoftTrace.of_tokens(row["old_log_probs"]),
        reward=float(row["rm_scores"].sum()),
        answer=None if answer is None else str(answer),
        extra={name: torch.as_tensor(row[name]).float() for name in extra},
    )


def _soft_trace(row: dict[str, Tensor]) -> SoftTrace:
    return SoftTrace(
        soft=row[SOFT],
        drawn=row[DRAWN],
        forced=row[FORCED],
        ids=row[IDS],
        values=row[VALUES],
        log_prob=row["rollout_log_probs"],
        entropy=row[ENTROPY],
        end_reason=row["extra_fields"][END_REASON],
    )
