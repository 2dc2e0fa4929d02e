"""Two deliberate faults of the soft rows, which the teacher-forced comparison must see.

Not collected by itself: ``test_v2_runner.py`` runs it on the V2 model runner.
"""

import random

import pytest
import torch
from oracles.rollout import draw, teacher_forced_logits
from support.engine import CANDIDATES, SMALL_CACHE
from support.tiny_models import END_1, END_2, VOCABULARY, make_tiny_model
from transformers import AutoModelForCausalLM
from vllm import SamplingParams

from verl_softthink.laws import LAWS, Action
from verl_softthink.rollout.request import resolve
from verl_softthink.rollout.vllm.soft_runner import SoftRunner
from verl_softthink.trace import unpack_rows

pytestmark = pytest.mark.vllm

#: Bound of the parity suite; a fault is orders of magnitude above it.
TOLERANCE = 1e-4
FAULT = 1e-1
REQUESTS, TOKENS = 6, 24
TAU = 1.0


@pytest.fixture(scope="module")
def engine(tmp_path_factory, engine_factory):
    path = make_tiny_model(tmp_path_factory.mktemp("model") / "llama", "llama", tied=False)
    cache = SMALL_CACHE | {"num_gpu_blocks_override": 9}
    model = AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32, attn_implementation="eager").eval()
    return engine_factory(path, **cache), model


def worst_gap(engine) -> tuple[float, int]:
    """The largest difference of a log-density from its teacher-forced value, and how many positions were fed twice."""
    llm, model = engine
    rng = random.Random(3)
    prompts = [[rng.randrange(5, VOCABULARY) for _ in range(rng.randrange(20, 60))] for _ in range(REQUESTS)]
    settings = [
        {
            "law": {"name": "gumbel", "tau": TAU},
            "filter": {"top_k": 5, "max_topk": 5},
            "phase": {"end_of_thinking": [END_1, END_2], "budget": TOKENS},
            "seed": 50 + i,
        }
        for i in range(REQUESTS)
    ]
    fed, again = set(), 0
    feed = SoftRunner._feed

    def counting(self, rows, slots, index):
        nonlocal again
        positions = list(zip(slots.tolist(), index.tolist(), strict=True))
        again += sum(position in fed for position in positions)
        fed.update(positions)
        feed(self, rows, slots, index)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(SoftRunner, "_feed", counting)
        params = [
            SamplingParams(max_tokens=TOKENS, temperature=0, ignore_eos=True, extra_args={"softthink": one})
            for one in settings
        ]
        outputs = llm.generate([{"prompt_token_ids": prompt} for prompt in prompts], params, use_tqdm=False)
    table = model.get_input_embeddings().weight.detach()
    worst = 0.0
    for prompt, one, output in zip(prompts, settings, outputs, strict=True):
        trace = unpack_rows(output.outputs[0].routed_experts)
        parameters = LAWS["gumbel"].columns(len(trace), tau=TAU)
        weights = LAWS["gumbel"].weights(Action(ids=trace.ids.long(), values=trace.values), parameters)
        weights = torch.where(trace.soft[:, None], weights, 0.0)
        mixed = (weights[..., None] * table[trace.ids.long().clamp(min=0)]).sum(1)
        tokens = table[torch.tensor(list(output.outputs[0].token_ids))]
        logits = teacher_forced_logits(model, prompt, torch.where(trace.soft[:, None], mixed, tokens))
        request = resolve(one, max_tokens=TOKENS, width=CANDIDATES, tokenize=None)
        for position in trace.soft.nonzero()[:, 0].tolist():
            # Under a fault the candidates may differ, too: then the gap is that of two unrelated draws.
            expected = draw(logits[position], request, position, table).log_prob
            worst = max(worst, abs(float(trace.log_prob[position]) - expected) / max(1.0, abs(expected) / 50))
    return worst, again


def test_without_a_fault_the_gap_is_rounding_though_requests_are_preempted(engine):
    gap, fed_again = worst_gap(engine)
    assert gap < TOLERANCE
    assert fed_again > 0


def test_soft_rows_switched_off_are_seen(engine, monkeypatch):
    monkeypatch.setattr(SoftRunner, "_feed", lambda self, rows, slots, index: None)
    assert worst_gap(engine)[0] > FAULT


def test_no_replay_after_preemption_is_seen(engine, monkeypatch):
    feed, fed = SoftRunner._feed, set()

    def once(self, rows, slots, index):
        positions = list(zip(slots.tolist(), index.tolist(), strict=True))
        new = torch.tensor([position not in fed for position in positions])
        fed.update(positions)
        feed(self, rows[new], slots[new], index[new])

    monkeypatch.setattr(SoftRunner, "_feed", once)
    gap, fed_again = worst_gap(engine)
    assert fed_again > 0
    assert gap > FAULT
