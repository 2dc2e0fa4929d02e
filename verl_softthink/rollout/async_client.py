"""verl's client of its asynchronous trainers, for soft requests: an aborted response goes on from what it has thought.

verl's client sends an aborted request again, with the tokens so far at the end of its prompt. At soft positions these
tokens are not what the model was fed, so each further attempt carries what the earlier ones have drawn as a soft prefix
(``rollout.prefix``). While the weights stay, the response is the one that nobody would have aborted: its noise is a
function of the request's seed and of the position. After an update it goes on under the new weights, as verl's do.

A seed of answer tokens (``softthink.rollout.seed_answers``) begins anew with every attempt, so each has its own.
"""

import hashlib
from typing import Any

import numpy as np
from verl.workers.rollout.llm_server import FullyAsyncLLMServerClient, LLMServerClient
from verl.workers.rollout.replica import TokenOutput

from verl_softthink.config.base import parse
from verl_softthink.config.settings import RequestSettings
from verl_softthink.rollout.fields import ROWS_FIELD, VERSIONS_FIELD, with_seed
from verl_softthink.rollout.prefix import decode_prefix, encode_prefix
from verl_softthink.rollout.request import EXTRA_ARGS_KEY
from verl_softthink.trace import unpack_rows


class PartialResponse:
    """What the attempts of one soft request have drawn so far.

    Args:
        sampling_params: verl's, with the soft request; it may begin with a prefix of its own.

    Raises:
        ValueError: the soft request is wrong, or has no seed, without which each attempt would draw other noise.
    """

    def __init__(self, sampling_params: dict[str, Any]):
        self._request = parse(RequestSettings, sampling_params["extra_args"][EXTRA_ARGS_KEY], EXTRA_ARGS_KEY)
        if self._request.seed is None:
            raise ValueError("softthink.seed=None: a response that may be aborted continues its noise; give it a seed")
        self._rows: list[np.ndarray] = []
        #: Of every position, the training step whose weights drew it.
        self._versions: list[int] = []

    def continued(self, sampling_params: dict[str, Any]) -> dict[str, Any]:
        """The sampling parameters of the next attempt, which begins behind what has been drawn."""
        if not self._rows:
            return sampling_params
        first = self._request
        trace = with_seed(unpack_rows(self.rows), first.law, first.seed)
        if first.prefix is not None:
            trace = decode_prefix(first.prefix.model_dump()).joined(trace)
        request = first.model_dump() | {"prefix": encode_prefix(trace, first.law)}
        extra = sampling_params["extra_args"] | {EXTRA_ARGS_KEY: request}
        seed = {"seed": _seed_of_attempt(sampling_params["seed"], len(trace))} if "seed" in sampling_params else {}
        return sampling_params | {"extra_args": extra} | seed

    def append(self, output: TokenOutput) -> None:
        """Take what an attempt has drawn; nothing of one that was aborted before its first token."""
        if output.token_ids:
            self._rows.append(output.extra_fields[ROWS_FIELD])
            self._versions += [output.extra_fields["global_steps"]] * len(output.token_ids)

    @property
    def rows(self) -> np.ndarray:
        """[T, C] int32, packed rows of all attempts."""
        return np.concatenate(self._rows)

    def put_into(self, output: TokenOutput) -> None:
        """Leave the whole response's rows and versions in verl's output, which keeps no extra field of an attempt."""
        if self._rows:
            output.extra_fields |= {ROWS_FIELD: self.rows, VERSIONS_FIELD: self._versions}


def _seed_of_attempt(seed: int, position: int) -> int:
    """Seed of the sampled tokens of an attempt that begins at a response position; in [0, 2^63)."""
    return int.from_bytes(hashlib.blake2b(f"{seed}:{position}".encode(), digest_size=8).digest()) >> 1


class _Attempt(LLMServerClient):
    """One attempt, which verl's client of asynchronous trainers repeats until nobody aborts it."""

    async def generate(
        self,
        request_id: str,
        *,
        sampling_params: dict[str, Any],
        partial_response: PartialResponse | None = None,
        **kwargs,
    ) -> TokenOutput:
        if partial_response is None:
            return await super().generate(request_id, sampling_params=sampling_params, **kwargs)
        asked = partial_response.continued(sampling_params)
        output = await super().generate(request_id, sampling_params=asked, **kwargs)
        partial_response.append(output)
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
        output = await super().generate(request_id, sampling_params=sampling_params, partial_response=partial, **kwargs)
        partial.put_into(output)
        return output
