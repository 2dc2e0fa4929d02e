"""From the rows of a training step in the TransferQueue to the responses of a dump, soft and discrete alike."""

from dataclasses import replace

import torch
from tensordict import TensorDict

from verl_softthink.dump import DumpedResponse
from verl_softthink.likelihood.fields import DRAWN, IDS, SOFT, VALUES
from verl_softthink.report.entropy_profile import ENTROPY as NEXT_TOKEN_ENTROPY
from verl_softthink.rollout.fields import DISCRETE, ENTROPY, FORCED, from_row
from verl_softthink.trace import SoftTrace

_COMMON = ("prompts", "responses", "rm_scores", "reward_model", "extra_fields", "old_log_probs")
_SOFT = (SOFT, DRAWN, FORCED, DISCRETE, IDS, VALUES, ENTROPY, "rollout_log_probs")
#: Fields whose rows are Python objects.
_OBJECTS = ("reward_model", "extra_fields")


def field_names(*, soft: bool, scored: bool, extra: tuple[str, ...]) -> list[str]:
    """The fields that ``responses`` reads.

    Args:
        soft: the rows have traces.
        scored: the old policy has been passed over the rows, which leaves the entropies of their positions.
        extra: per-position fields that stages add.
    """
    fields = (*_COMMON, *(_SOFT if soft else ()), *((NEXT_TOKEN_ENTROPY,) if scored else ()), *extra)
    return list(dict.fromkeys(fields))


def responses(keys: list[str], data: TensorDict, *, extra: tuple[str, ...]) -> list[DumpedResponse]:
    """One response per key from jagged fields of ``len(keys)`` rows."""
    columns = {name: list(column) for name, column in data.items()}
    return [
        _response(key, {name: column[row] for name, column in columns.items()}, extra) for row, key in enumerate(keys)
    ]


def _response(key: str, row: dict, extra: tuple[str, ...]) -> DumpedResponse:
    row = row | {name: getattr(row[name], "data", row[name]) for name in _OBJECTS}
    answer = row["reward_model"].get("ground_truth")
    trace = from_row(row) if SOFT in row else SoftTrace.of_tokens(row["old_log_probs"])
    if NEXT_TOKEN_ENTROPY in row:
        # At verl's rollout temperature; softthink.rollout.record_entropy has it from the rollout itself.
        entropy = trace.entropy.where(~trace.entropy.isnan(), row[NEXT_TOKEN_ENTROPY].float())
        trace = replace(trace, entropy=entropy)
    return DumpedResponse(
        key=key,
        prompt_ids=row["prompts"],
        response_ids=row["responses"],
        trace=trace,
        reward=float(row["rm_scores"].sum()),
        answer=None if answer is None else str(answer),
        extra={name: torch.as_tensor(row[name]).float() for name in extra},
    )
