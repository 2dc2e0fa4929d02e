"""Two tensor-parallel processes, of which the second alone cannot take a request in: that request ends on both.

Not collected by itself: ``test_tensor_parallel.py`` runs it.
"""

import pytest
from support.engine import CANDIDATES
from support.tiny_models import VOCABULARY, make_tiny_model
from vllm import SamplingParams
from vllm.distributed import get_tp_group

from verl_softthink.rollout.vllm.soft_runner import SoftRunner

pytestmark = pytest.mark.vllm

SEED_THAT_FAILS = 2
REASON = "no memory is left on this device"


def test_the_request_ends_on_both_with_the_reason_and_others_go_on(engine_factory, tmp_path_factory, monkeypatch):
    add = SoftRunner.add

    def add_unless(self, request_id, values, prompt):
        if values["seed"] == SEED_THAT_FAILS and get_tp_group().rank_in_group == 1:
            raise RuntimeError(REASON)
        add(self, request_id, values, prompt)

    # The ranks are forked from this process.
    monkeypatch.setattr(SoftRunner, "add", add_unless)
    path = make_tiny_model(tmp_path_factory.mktemp("model") / "llama", "llama", tied=False)
    llm = engine_factory(path, additional_config={"softthink": {"max_candidates": CANDIDATES}})

    def tokens_of(*seeds):
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

    before = tokens_of(1, 3)
    first, failed, last = tokens_of(1, SEED_THAT_FAILS, 3)
    assert (failed.finish_reason, failed.stop_reason) == ("error", f"softthink: {REASON}")
    assert [first.token_ids, last.token_ids] == [one.token_ids for one in before]
