"""The agent loop of a continuation: it requests the prompt and a prefix, and returns a row of the whole response.

vLLM reuses its prefix cache if it still holds the prefix. Reward and training see an ordinary response. A soft prefix
is sent with its trace, so that its positions are fed as before; the row has the trace of the whole response, whose new
positions draw noise of their own.
"""

from types import ModuleType
from typing import Any

from verl.experimental.agent_loop.agent_loop import AgentLoopOutput
from verl.experimental.agent_loop.single_turn_agent_loop import SingleTurnAgentLoop
from verl.utils.profiler import simple_timer

from verl_softthink.methods.attnrl.fields import (
    ABORTED,
    AGENT_NAME,
    BRANCH,
    NUMBER,
    PREFIX_IDS,
    PREFIX_LOG_PROBS,
    PREFIX_TRACE,
    PROMPT_IDS,
    SESSION,
)
from verl_softthink.rollout.agent_loop import SoftAgentLoopOutput, node_settings, request_seed, soft_sampling
from verl_softthink.rollout.fields import ROWS_FIELD, with_seed
from verl_softthink.rollout.prefix import decode_prefix
from verl_softthink.rollout.request import EXTRA_ARGS_KEY
from verl_softthink.trace import unpack_rows

#: ``stop_reason`` of verl's servers for an aborted request.
_STOP_OF_ABORTED = "aborted"


class BranchAgentLoop(SingleTurnAgentLoop):
    """One continuation of a given prefix."""

    async def run(self, sampling_params: dict[str, Any], priority: int = 0, **kwargs) -> AgentLoopOutput:
        branch = kwargs[BRANCH]
        prompt, prefix = list(branch[PROMPT_IDS]), list(branch[PREFIX_IDS])
        # Popped, because verl copies the request into the row, whose own trace includes the prefix.
        encoded = branch.pop(PREFIX_TRACE)
        soft = encoded is not None
        if soft:
            settings = node_settings(self.rollout_config.custom[EXTRA_ARGS_KEY])
            seed = request_seed(settings.rollout.seed, kwargs, branch[NUMBER])
            sampling_params = sampling_params | soft_sampling(settings, seed, encoded)
        metrics: dict[str, Any] = {}
        with simple_timer("generate_sequences", metrics):
            output = await self.server_manager.generate(
                # Requests with one id go to one server, whose cache then holds the prefix that they share.
                request_id=branch[SESSION],
                prompt_ids=prompt + prefix,
                sampling_params=sampling_params | {"max_tokens": self.response_length - len(prefix)},
                priority=int(priority),
            )
        own = list(output.token_ids)
        log_probs = None
        if branch[PREFIX_LOG_PROBS] is not None:
            log_probs = list(branch[PREFIX_LOG_PROBS]) + list(output.log_probs or [])
        # verl's metrics expect the keys that its multi-turn loops write.
        fields = output.extra_fields | {"turn_scores": [], "tool_rewards": []}
        if output.stop_reason == _STOP_OF_ABORTED or not own:
            fields[ABORTED] = output.stop_reason if own else f"{output.stop_reason}, without a token"
        rows = fields.pop(ROWS_FIELD, None)
        row = AgentLoopOutput(
            prompt_ids=prompt,
            response_ids=prefix + own,
            response_mask=[1] * (len(prefix) + len(own)),
            response_logprobs=log_probs,
            num_turns=2,
            metrics=metrics,
            extra_fields=fields,
        )
        if not soft:
            return row
        trace = decode_prefix(encoded)
        if own:
            trace = trace.joined(with_seed(unpack_rows(rows), settings.law, seed))
        whole = {name: getattr(row, name) for name in row.model_fields_set}
        return SoftAgentLoopOutput(**whole, trace=trace, law=settings.law)


def register(agent_loop: ModuleType) -> None:
    """``verl.experimental.agent_loop.single_turn_agent_loop``: add agent loop ``softthink_branch_agent``."""
    agent_loop.register(AGENT_NAME)(BranchAgentLoop)
