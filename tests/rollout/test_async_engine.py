"""The engine as verl runs it, and behind vLLM's server: AsyncLLM, the engine core and the worker in other processes."""

import asyncio
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest
from support.openai_server import check_server
from support.tiny_models import VOCABULARY, make_tiny_model

pytestmark = pytest.mark.vllm

REQUESTS = 10
LIMIT_SECONDS = 240


def _settings(index):
    return {
        "law": {"name": ("gumbel", "concrete")[index % 2], "tau": 0.5},
        "phase": {"end_of_thinking": [3, 4], "budget": 10 + index},
        "seed": index,
    }


async def _generate(path: str) -> None:
    from vllm import SamplingParams
    from vllm.engine.arg_utils import AsyncEngineArgs
    from vllm.engine.protocol import StreamingInput
    from vllm.exceptions import VLLMValidationError
    from vllm.sampling_params import RequestOutputKind
    from vllm.v1.engine.async_llm import AsyncLLM

    from verl_softthink.trace import unpack_rows

    engine = AsyncLLM.from_engine_args(
        AsyncEngineArgs(
            path,
            dtype="float32",
            enforce_eager=True,
            max_model_len=256,
            max_num_seqs=4,
            max_num_batched_tokens=48,
            enable_prefix_caching=True,
            disable_log_stats=True,
            additional_config={"softthink": {"max_candidates": 5}},
        )
    )
    rng = random.Random(0)
    prompts = [[rng.randrange(5, VOCABULARY) for _ in range(rng.randrange(3, 90))] for _ in range(REQUESTS)]

    async def one(index: int, name: str):
        # Staggered, and more than fit at once: requests join and leave a running batch.
        await asyncio.sleep(0.05 * index)
        soft = index % 3 != 0
        params = SamplingParams(
            max_tokens=25 + index,
            temperature=0,
            logprobs=0,
            ignore_eos=True,
            extra_args={"softthink": _settings(index)} if soft else None,
        )
        last = None
        async for output in engine.generate({"prompt_token_ids": prompts[index]}, params, request_id=f"{name}{index}"):
            last = output
        completion = last.outputs[0]
        assert (completion.routed_experts is not None) == soft
        if soft:
            trace = unpack_rows(completion.routed_experts)
            assert len(trace) == len(completion.token_ids) == 25 + index
            # What verl's server reads is the trace's own log-density.
            for position in range(10):
                reported = completion.logprobs[position][completion.token_ids[position]].logprob
                assert reported == float(trace.log_prob[position])
        return list(completion.token_ids)

    together = await asyncio.gather(*(one(index, "a") for index in range(REQUESTS)))
    # The noise is a function of the seed alone: alone or in company, a request draws the same first tokens.
    for index in (1, 4):
        assert (await one(index, "b"))[:4] == together[index][:4]

    # A refused request reaches its caller only.
    bad = SamplingParams(max_tokens=5, extra_args={"softthink": {"law": {"name": "nope"}}})
    try:
        async for _ in engine.generate({"prompt_token_ids": prompts[0]}, bad, request_id="bad"):
            pass
    except VLLMValidationError as error:
        assert "softthink.law.name='nope'" in str(error)
    else:
        raise AssertionError("a request with an unknown law was accepted")
    assert len(await one(2, "c")) == 27

    # So does a session with streaming input.
    async def chunks():
        yield StreamingInput({"prompt_token_ids": prompts[0]})

    soft = SamplingParams(max_tokens=20, extra_args={"softthink": _settings(0)}, output_kind=RequestOutputKind.DELTA)
    try:
        async for _ in engine.generate(chunks(), soft, request_id="session"):
            pass
    except VLLMValidationError as error:
        assert "in a session with streaming input" in str(error)
    else:
        raise AssertionError("a session with streaming input was accepted")
    assert len(await one(2, "e")) == 27

    # A request that is aborted frees its slot: more aborts than there are slots, then a soft request still runs.
    for number in range(6):
        stream = engine.generate(
            {"prompt_token_ids": prompts[1]},
            SamplingParams(max_tokens=100, ignore_eos=True, extra_args={"softthink": _settings(1)}),
            request_id=f"abort{number}",
        )
        async for _ in stream:
            break
        await engine.abort(f"abort{number}")
    assert len(await one(4, "d")) == 29
    await check_server(engine, path)
    engine.shutdown()


def test_soft_and_ordinary_requests_share_an_engine_in_other_processes(tmp_path):
    path = make_tiny_model(tmp_path / "llama", "llama", tied=False)
    paths = os.pathsep.join((str(Path(__file__).parents[1]), *filter(None, sys.path)))
    environment = os.environ | {"VLLM_ENABLE_V1_MULTIPROCESSING": "1", "PYTHONPATH": paths}
    result = subprocess.run(
        [sys.executable, __file__, str(path)], env=environment, capture_output=True, text=True, timeout=LIMIT_SECONDS
    )
    assert result.returncode == 0, result.stdout[-3000:] + result.stderr[-3000:]


if __name__ == "__main__":
    asyncio.run(_generate(sys.argv[1]))
