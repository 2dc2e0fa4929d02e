"""verl's client of its asynchronous trainers, for soft requests: an aborted response goes on from what it has thought.

verl's client sends an aborted request again, under the weights of the moment, with the tokens so far at the end of its
prompt. Here each attempt carries the rows of the earlier ones as well (``rollout.partial_response``).
"""

from typing import Any

from verl.workers.rollout.llm_server import FullyAsyncLLMServerClient, LLMServerClient
from verl.workers.rollout.replica import TokenOutput

from verl_softthink.rollout.fields import ROWS_FIELD, VERSIONS_FIELD
from verl_softthink.rollout.partial_response import PartialResponse
from verl_softthink.rollout.request import EXTRA_ARGS_KEY


class _Attempt(LLMServerClient):
    """One attempt, which verl's client of asynchronous trainers repeats until nobody aborts it."""

    async def generate(
        self, request_id: str, *, sampling_params: dict[str, Any], partial: PartialResponse | None = None, **kwargs
    ) -> TokenOutput:
        if partial is None:
            return await super().generate(request_id, sampling_params=sampling_params, **kwargs)
        output = await super().generate(request_id, sampling_params=partial.continued(sampling_params), **kwargs)
        # Nothing of an attempt that was aborted before its first token.
        if output.token_ids:
            partial.append(output.extra_fields[ROWS_FIELD], output.extra_fields["global_steps"])
        return output


class SoftLLMServerClient(FullyAsyncLLMServerClient, _Attempt):
    """verl's client with resumed soft responses; other requests are served as verl does."""

    async def generate(self, request_id: str, *, sampling_params: dict[str, Any], **kwargs) -> TokenOutput:
        """A whole response, however often it is aborted.

        The output of a soft request holds ``extra_fields["softthink_rows"]``, packed rows [T, C] of all its positions,
        and ``extra_fields["softthink_versions"]``, the training step of the weights that drew each of them.
        """
        if EXTRA_ARGS_KEY not in (sampling_params.get("extra_args") or {}):
            return await super().generate(request_id, sampling_params=sampling_params, **kwargs)
        partial = PartialResponse(sampling_params)
        output = await super().generate(request_id, sampling_params=sampling_params, partial=partial, **kwargs)
        # verl's client keeps no extra field of an attempt.
        if output.token_ids:
            output.extra_fields |= {ROWS_FIELD: partial.rows, VERSIONS_FIELD: partial.versions}
        return output
