"""verl's vLLM server and replica with soft traces: registered as rollout ``softthink_vllm``.

A soft request whose trace does not come back is an error: it would otherwise train as a discrete rollout.
"""

import numpy as np
import ray
from verl.workers.rollout.replica import TokenOutput
from verl.workers.rollout.vllm_rollout.vllm_async_server import vLLMHttpServer, vLLMReplica

from verl_softthink.config.settings import SoftThinkSettings
from verl_softthink.rollout.fields import ROWS_FIELD
from verl_softthink.rollout.request import EXTRA_ARGS_KEY
from verl_softthink.trace import FAILURES, failure_at


class _TraceTap:
    """Stands in for the server's ``AsyncLLM`` and keeps the trace rows that verl's ``generate`` does not read."""

    def __init__(self, engine):
        self._engine = engine
        self._rows: dict[str, np.ndarray | None] = {}

    def __getattr__(self, name: str):
        return getattr(self.__dict__["_engine"], name)

    async def generate(self, *args, request_id: str, **kwargs):
        async for output in self._engine.generate(*args, request_id=request_id, **kwargs):
            if output.finished and output.outputs:
                self._rows[request_id] = output.outputs[0].routed_experts
            yield output

    def take_rows(self, request_id: str) -> np.ndarray | None:
        """The rows of a finished request, once."""
        return self._rows.pop(request_id, None)


class SoftVLLMServer(vLLMHttpServer):
    """Sizes the engine's candidate slots from the recipe and returns each soft request's trace."""

    def _preprocess_engine_kwargs(self, engine_kwargs: dict) -> None:
        super()._preprocess_engine_kwargs(engine_kwargs)
        additional = dict(engine_kwargs.get("additional_config") or {})
        settings = dict(additional.get(EXTRA_ARGS_KEY) or {})
        recipe = SoftThinkSettings.of_node(self.config.custom[EXTRA_ARGS_KEY])
        settings.setdefault("max_candidates", max(recipe.filter.max_topk, recipe.law.slots))
        settings.setdefault("carries_embeddings", recipe.law.carries_embedding)
        engine_kwargs["additional_config"] = additional | {EXTRA_ARGS_KEY: settings}

    async def run_server(self, args) -> None:
        await super().run_server(args)
        self.engine = _TraceTap(self.engine)

    async def generate(self, prompt_ids, sampling_params: dict, request_id: str, **kwargs) -> TokenOutput:
        """verl's ``generate``; for a soft request ``extra_fields["softthink_rows"]`` holds the packed trace.

        A request that continues a soft prefix returns the trace of its new tokens; one that was aborted before its
        first token has none.

        Raises:
            RuntimeError: when the trace is missing or does not cover every token, or when the response failed.
        """
        soft = EXTRA_ARGS_KEY in (sampling_params.get("extra_args") or {})
        output = await super().generate(prompt_ids, sampling_params, request_id, **kwargs)
        rows = self.engine.take_rows(request_id)
        aborted = output.stop_reason == "aborted" and not output.token_ids
        if not soft or aborted:
            return output
        if rows is None or len(rows) != len(output.token_ids):
            returned = "no trace" if rows is None else f"a trace of {len(rows)} positions"
            raise RuntimeError(
                f"soft request {request_id} returned {returned} for {len(output.token_ids)} tokens (stop reason "
                f"{output.stop_reason!r}): check that verl_softthink is installed where vLLM's engine core runs, that "
                "VERL_SOFTTHINK_DISABLE is not set there, and that VLLM_PLUGINS, if set, names verl_softthink"
            )
        if failed := failure_at(rows):
            position, reason = failed
            raise RuntimeError(f"soft request {request_id} failed at response position {position}: {FAILURES[reason]}")
        output.extra_fields[ROWS_FIELD] = rows
        return output


class SoftVLLMReplica(vLLMReplica):
    """A vLLM replica whose servers return soft traces."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.server_class = ray.remote(SoftVLLMServer)

    def _get_server_name_prefix(self) -> str:
        # The weight adapter looks servers up by the rollout's name.
        return f"{self.config.name}_"
