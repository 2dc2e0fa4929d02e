"""The vLLM engine of an evaluation: soft requests in, responses out. The thin border to vLLM."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

from verl_softthink.config.settings import RequestSettings
from verl_softthink.evaluation.modes import Mode
from verl_softthink.evaluation.samples import Response
from verl_softthink.rollout.request import EXTRA_ARGS_KEY
from verl_softthink.standalone import vllm_engine
from verl_softthink.trace import SoftTrace, unpack_rows

if TYPE_CHECKING:
    from vllm import LLM


@dataclass(frozen=True)
class EngineSettings:
    """How the engine is sized.

    Attributes:
        max_prompt_length, max_tokens: longest prompt and response, in tokens.
        max_num_seqs: requests that run at once.
        candidates: candidate slots, as many as any mode takes.
        carries_embeddings: whether traces of some mode carry drawn embeddings, which the engine then keeps.
        tensor_parallel_size: accelerators that hold one copy of the model.
        answer_temperature: of the tokens after thinking; 0 is greedy.
    """

    max_prompt_length: int
    max_tokens: int
    max_num_seqs: int
    candidates: int
    carries_embeddings: bool
    tensor_parallel_size: int = 1
    answer_temperature: float = 0.0

    @classmethod
    def of_modes(cls, modes: Sequence[Mode], **sizes: float) -> Self:
        """Room for the traces of every mode; ``sizes`` are the other attributes."""
        return cls(
            candidates=max(max(mode.filter.max_topk, mode.law.slots) for mode in modes),
            carries_embeddings=any(mode.law.carries_embedding for mode in modes),
            **sizes,
        )


@dataclass(frozen=True)
class Rollout:
    """What the engine returned to one request.

    Attributes:
        text: decoded without special tokens.
        tokens: T generated token ids.
        finish: vLLM's reason, "stop" or "length".
        trace: T positions.
    """

    text: str
    tokens: list[int]
    finish: str
    trace: SoftTrace

    def response(self) -> Response:
        """What is kept of it where the trace is not."""
        return Response(
            text=self.text,
            tokens=len(self.tokens),
            thinking=int(self.trace.drawn.sum()),
            finish=self.finish,
            end_reason=self.trace.end_reason,
            answer_cut=self.trace.cut,
        )


class Engine:
    """Requests to one vLLM engine, whose processes ``opened`` starts and ends."""

    def __init__(self, llm: "LLM", settings: EngineSettings):
        self._llm, self._settings = llm, settings

    @classmethod
    @contextmanager
    def opened(cls, checkpoint: Path, settings: EngineSettings) -> Iterator["Engine"]:
        """An engine with the checkpoint's weights, for the length of the block."""
        with vllm_engine(
            checkpoint,
            max_model_len=settings.max_prompt_length + settings.max_tokens,
            max_num_seqs=settings.max_num_seqs,
            tensor_parallel_size=settings.tensor_parallel_size,
            # The samples of a prompt share its blocks; soft positions have private keys.
            enable_prefix_caching=True,
            disable_log_stats=True,
            additional_config={
                EXTRA_ARGS_KEY: {
                    "max_candidates": settings.candidates,
                    "carries_embeddings": settings.carries_embeddings,
                }
            },
        ) as llm:
            yield cls(llm, settings)

    def generate(self, prompts: Sequence[list[int]], requests: Sequence[RequestSettings]) -> list[Response]:
        """One response to each prompt of token ids, without traces; see ``roll_out``."""
        return [rollout.response() for rollout in self.roll_out(prompts, requests)]

    def roll_out(self, prompts: Sequence[list[int]], requests: Sequence[RequestSettings]) -> list[Rollout]:
        """One response to each prompt of token ids, of at most ``max_tokens`` with the soft prefix of its request.

        Raises:
            RuntimeError: when a response is missing, has failed, or comes back without its trace.
        """
        from vllm import SamplingParams

        sampling = [
            SamplingParams(
                max_tokens=self._settings.max_tokens - (0 if request.prefix is None else request.prefix.length),
                temperature=self._settings.answer_temperature,
                seed=request.seed if self._settings.answer_temperature else None,
                extra_args={EXTRA_ARGS_KEY: request.model_dump()},
            )
            for request in requests
        ]
        inputs = [{"prompt_token_ids": prompt} for prompt in prompts]
        outputs = self._llm.generate(inputs, sampling, use_tqdm=False)
        if len(outputs) != len(inputs):
            raise RuntimeError(f"the engine returned {len(outputs)} responses to {len(inputs)} requests")
        return [_rollout(output.outputs[0]) for output in outputs]


def _rollout(completion) -> Rollout:
    if completion.finish_reason == "error":
        raise RuntimeError(f"a request failed: {completion.stop_reason}")
    rows, tokens = completion.routed_experts, len(completion.token_ids)
    if rows is None or len(rows) < tokens:
        raise RuntimeError(
            f"a soft request came back with a trace of {0 if rows is None else len(rows)} positions for {tokens} "
            "tokens: check that VERL_SOFTTHINK_DISABLE is not set, and that VLLM_PLUGINS, if set, names verl_softthink"
        )
    return Rollout(
        text=completion.text,
        tokens=list(completion.token_ids),
        finish=str(completion.finish_reason),
        trace=unpack_rows(rows).truncated(tokens),
    )
