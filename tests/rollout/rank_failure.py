"""Two tensor-parallel processes, of which the second alone fails: to take a request in, which ends it on both, or in a
step, which ends the engine.

Not collected by itself: ``test_tensor_parallel.py`` runs the first. The second by hand, as vLLM's sockets sometimes
wait for ever when an engine that lost a rank is shut down in the process of the test:

    SOFTTHINK_TEST_RANKS=2 VLLM_HOST_IP=127.0.0.1 GLOO_SOCKET_IFNAME=lo python -m pytest tests/rollout/rank_failure.py
"""

import time

import pytest
from support.engine import CANDIDATES
from support.tiny_models import VOCABULARY, make_tiny_model
from vllm import SamplingParams
from vllm.distributed import get_tp_group

from verl_softthink.rollout.vllm.soft_runner import SoftRunner

pytestmark = pytest.mark.vllm

SEED_THAT_FAILS = 2
REASON = "no memory is left on this device"
#: Prompt chunks and soft positions lie before it and after it.
STEP_THAT_FAILS = 5
#: vLLM's grace for its workers and the signals after it, of which nothing depends on the step; alone it takes 300.
LIMIT_SECONDS = 120


def ask(llm, *seeds):
    params = [
        SamplingParams(
            max_tokens=12,
            temperature=0,
            ignore_eos=True,
            extra_args={"softthink": {"phase": {"end_of_thinking": [3, 4], "budget": 8}, "seed": seed}},
        )
        for seed in seeds
    ]
    prompt = {"prompt_token_ids": [5 + i % (VOCABULARY - 5) for i in range(70)]}
    return [output.outputs[0] for output in llm.generate([prompt] * len(seeds), params, use_tqdm=False)]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return make_tiny_model(tmp_path_factory.mktemp("model") / "llama", "llama", tied=False)


def test_the_request_ends_on_both_with_the_reason_and_others_go_on(engine_factory, model, monkeypatch):
    add = SoftRunner.add

    def add_unless(self, request_id, values, prompt):
        if values["seed"] == SEED_THAT_FAILS and get_tp_group().rank_in_group == 1:
            raise RuntimeError(REASON)
        add(self, request_id, values, prompt)

    # The ranks are forked from this process.
    monkeypatch.setattr(SoftRunner, "add", add_unless)
    llm = engine_factory(model, additional_config={"softthink": {"max_candidates": CANDIDATES}})
    before = ask(llm, 1, 3)
    first, failed, last = ask(llm, 1, SEED_THAT_FAILS, 3)
    assert (failed.finish_reason, failed.stop_reason) == ("error", f"softthink: {REASON}")
    assert [first.token_ids, last.token_ids] == [one.token_ids for one in before]


def test_a_step_that_fails_ends_the_engine_at_once(engine_factory, model, monkeypatch):
    """Before it, the other rank served mixtures without this one's part, or waited until vLLM's own limit."""
    sound, calls = SoftRunner.step, 0

    def fail_once(self, *args, **kwargs):
        nonlocal calls
        calls += 1
        if calls == STEP_THAT_FAILS and get_tp_group().rank_in_group == 1:
            raise RuntimeError(REASON)
        return sound(self, *args, **kwargs)

    monkeypatch.setattr(SoftRunner, "step", fail_once)
    llm = engine_factory(model, additional_config={"softthink": {"max_candidates": CANDIDATES}})
    began = time.monotonic()
    with pytest.raises(RuntimeError):
        ask(llm, 1)
    assert time.monotonic() - began < LIMIT_SECONDS
