"""The agent loop of soft rollouts: verl's single-turn loop with a soft request, and the trace in its output."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import replace
from types import ModuleType
from typing import Any

import torch
from pydantic import ConfigDict
from verl.experimental.agent_loop.agent_loop import AgentLoopOutput
from verl.experimental.agent_loop.single_turn_agent_loop import SingleTurnAgentLoop

from verl_softthink.config.base import ParsedOnce
from verl_softthink.config.settings import LawSettings, SoftThinkSettings
from verl_softthink.rollout.fields import (
    OCCURRENCE,
    ROWS_FIELD,
    VERSIONS_FIELD,
    to_extra_fields,
    to_fields,
    with_seed,
)
from verl_softthink.rollout.request import EXTRA_ARGS_KEY
from verl_softthink.trace import SoftTrace, unpack_rows

AGENT_NAME = "softthink_agent"
#: How soft positions are drawn; this loop reads no method's group of settings.
node_settings: ParsedOnce[SoftThinkSettings] = ParsedOnce(SoftThinkSettings.of_node)


class SoftAgentLoopOutput(AgentLoopOutput):
    """An agent loop's output with a soft trace, whose tensors travel beside ``responses``."""

    model_config = ConfigDict(arbitrary_types_allowed=True)

    trace: SoftTrace
    law: LawSettings

    def as_dict(self) -> dict[str, Any]:
        """verl's fields, [T] ``softthink_{soft,drawn,forced,discrete,entropy}`` and [T, K] ``softthink_{ids,values}``.

        Where the law draws embeddings also [T] ``softthink_scale``, with [T, H] ``softthink_fed`` or [T]
        ``softthink_seed``; under an asynchronous trainer [T] ``softthink_version``.
        """
        output = super().as_dict()
        del output["trace"], output["law"]
        # Forced tokens are masked from the loss.
        output["response_mask"] = output["response_mask"] * (~self.trace.forced).long()
        output |= to_fields(self.trace, self.law)
        output["extra_fields"] |= to_extra_fields(self.trace)
        return output


class SoftAgentLoop(SingleTurnAgentLoop):
    """One soft response to one prompt."""

    async def run(self, sampling_params: dict[str, Any], **kwargs) -> SoftAgentLoopOutput:
        settings = node_settings(self.rollout_config.custom[EXTRA_ARGS_KEY])
        seed = request_seed(settings.rollout.seed, kwargs)
        output = await super().run(sampling_params | soft_sampling(settings, seed), **kwargs)
        return attach_trace(output, settings.law, seed)


def soft_sampling(settings: SoftThinkSettings, seed: int, prefix: dict | None = None) -> dict[str, Any]:
    """What makes verl's sampling parameters those of a soft request; ``prefix`` is an encoded one to continue."""
    soft = {"extra_args": {EXTRA_ARGS_KEY: settings.request(seed, prefix).model_dump()}}
    return soft | ({"seed": seed} if settings.rollout.seed_answers else {})


def request_seed(seed: int, row: Mapping[str, Any], branch: int | None = None) -> int:
    """Noise seed of one request, in [0, 2^63): equal for equal arguments, in this run and after a resume.

    Args:
        seed: ``softthink.rollout.seed``.
        row: of the data, as the agent loop gets it: prompt, occurrence of the prompt in its step, step, and number of
            the response among its prompt's.
        branch: the number of a continuation among its prompt's; None for a response from its beginning.
    """
    key = [seed, list(row["raw_prompt"]), *(int(row[name]) for name in ("global_steps", "session_id", OCCURRENCE))]
    record = json.dumps([*key, *([] if branch is None else [branch])], sort_keys=True, default=str)
    return int.from_bytes(hashlib.blake2b(record.encode(), digest_size=8).digest()) >> 1


def attach_trace(output: AgentLoopOutput, law: LawSettings, seed: int) -> SoftAgentLoopOutput:
    """Move the packed rows out of the extra fields into a trace that covers exactly the response.

    Raises:
        ValueError: when tokens and trace do not line up.
    """
    if ROWS_FIELD not in output.extra_fields:
        raise ValueError(
            f"the soft request of a prompt of {len(output.prompt_ids)} tokens came back without a token: something "
            "aborted it, and there is no trace to train on; remove what pauses or aborts requests during a rollout"
        )
    trace = unpack_rows(output.extra_fields.pop(ROWS_FIELD))
    length = len(output.response_ids)
    # The loop cuts responses at response_length, and a chat template may not add tokens to a soft response.
    if len(trace) < length or len(output.response_mask) != length or not all(output.response_mask):
        raise ValueError(
            f"a soft trace of {len(trace)} positions does not line up with {length} response tokens, "
            f"{sum(output.response_mask)} of them generated: the tokenizer's chat template adds tokens after an "
            "assistant turn; use a template without them"
        )
    if VERSIONS_FIELD in output.extra_fields:
        trace = replace(trace, version=torch.tensor(output.extra_fields.pop(VERSIONS_FIELD)))
    fields = {name: getattr(output, name) for name in output.model_fields_set}
    return SoftAgentLoopOutput(**fields, trace=with_seed(trace.truncated(length), law, seed), law=law)


def register(agent_loop: ModuleType) -> None:
    """``verl.experimental.agent_loop.single_turn_agent_loop``: add agent loop ``softthink_agent``."""
    agent_loop.register(AGENT_NAME)(SoftAgentLoop)
