"""Requests as strangers write them, to a real engine: refused by name, served or ended alone; nobody else notices."""

from types import SimpleNamespace

import pytest
import torch
from support.engine import CANDIDATES, SMALL_CACHE
from support.hostile_requests import hostile_requests
from support.tiny_models import VOCABULARY, make_tiny_model
from vllm import SamplingParams
from vllm.exceptions import VLLMValidationError
from vllm.multimodal.inputs import MultiModalFeatureSpec, PlaceholderRange

from verl_softthink.rollout.phase.markers import MAX_TEXT_MARKERS
from verl_softthink.rollout.settings_table import SettingsTable
from verl_softthink.rollout.vllm.frontend import check_text_only
from verl_softthink.rollout.vllm.memory import check_reserved, history_bytes_of, reserve_history
from verl_softthink.trace import failure_at, unpack_rows

pytestmark = pytest.mark.vllm

PROMPT = [5 + 7 * i % (VOCABULARY - 5) for i in range(40)]
MAX_TOKENS = 12
REQUESTS = 400


@pytest.fixture(scope="module")
def llm(engine_factory, tmp_path_factory):
    config = {"softthink": {"max_candidates": CANDIDATES, "carries_embeddings": True}}
    path = make_tiny_model(tmp_path_factory.mktemp("model") / "qwen3", "qwen3", tied=False)
    llm = engine_factory(path, additional_config=config, max_num_seqs=12, **SMALL_CACHE)
    # Before any request: the memory is taken before vLLM measures what is left for its cache.
    runner = llm.llm_engine.model_executor.driver_worker.worker.model_runner
    assert runner._softthink.state.nbytes == history_bytes_of(llm.llm_engine.vllm_config)
    return llm


def params(extra=None, **sampling):
    arguments = {"max_tokens": MAX_TOKENS, "temperature": 0, "ignore_eos": True} | sampling
    return SamplingParams(extra_args=extra, **arguments)


def generate(llm, *requests, length=None):
    """The outputs of requests that share their batches; the last one's prompt is ``PROMPT``, those before it differ."""
    tokens = PROMPT * 5 if length else PROMPT
    prompts = [{"prompt_token_ids": tokens[number:][:length]} for number in range(1, len(requests))]
    prompts.append({"prompt_token_ids": PROMPT})
    return [output.outputs[0] for output in llm.generate(prompts, list(requests), use_tqdm=False)]


def soft(**phase):
    settings = {"phase": {"end_of_thinking": [3, 4], "budget": 8} | phase, "filter": {"max_topk": 5}, "seed": 1}
    return {"softthink": settings}


@pytest.fixture(scope="module")
def alone(llm):
    """What an ordinary request gets from an engine that has served nobody else."""
    (canary,) = generate(llm, params())
    return list(canary.token_ids)


def test_no_request_harms_another(llm, alone):
    """Each is in one batch with an ordinary request, whose blocks of the cache are those that others have freed."""
    counts = {"refused": 0, "served": 0}
    for settings in hostile_requests(seed=0, count=REQUESTS):
        try:
            output, canary = generate(llm, params({"softthink": settings}, ignore_eos=False), params())
        except VLLMValidationError as error:
            message = str(error).encode().decode()
            assert all(line.startswith("softthink") for line in message.split("\n")) and len(message) < 3000, message
            counts["refused"] += 1
            (canary,) = generate(llm, params())
        else:
            trace = unpack_rows(output.routed_experts)
            assert output.finish_reason in ("length", "stop") and len(trace) == len(output.token_ids)
            assert trace.log_prob.isfinite().all() and trace.values.isfinite().all()
            counts["served"] += 1
        assert list(canary.token_ids) == alone, settings
    assert min(counts.values()) > REQUESTS // 4, counts


def test_a_mixture_that_is_not_finite_ends_its_request_alone(llm, alone):
    """The embeddings of tokens that no other request holds are broken: whoever mixes them fails."""
    broken = torch.ones(VOCABULARY, dtype=torch.bool)
    broken[[*PROMPT, *alone, *range(5)]] = False

    def damage(model):
        model._kept = model.model.embed_tokens.weight.data.clone()
        model.model.embed_tokens.weight.data[:VOCABULARY][broken] = torch.inf

    def heal(model):
        model.model.embed_tokens.weight.data.copy_(model._kept)

    llm.apply_model(damage)
    output, canary = generate(llm, params(soft()), params())
    llm.apply_model(heal)
    assert list(canary.token_ids) == alone
    position, reason = failure_at(output.routed_experts)
    assert (output.finish_reason, reason) == ("error", "bad_draw") and 0 < position == len(output.token_ids) - 1
    assert output.stop_reason.startswith("softthink: the mixture drawn before it")
    assert unpack_rows(output.routed_experts).values.isfinite().all()
    output, canary = generate(llm, params(soft()), params())
    assert list(canary.token_ids) == alone and output.finish_reason == "length"


def test_one_text_too_many_at_a_time_ends_that_request_alone(llm, alone):
    """The texts of requests that have ended make room for others."""
    for first in (10, 30):
        texts = [soft(end_of_thinking=f"w{first + number}", match="text") for number in range(MAX_TEXT_MARKERS + 1)]
        outputs = generate(llm, *map(params, texts), params(), length=8)
        failed = [output for output in outputs if output.finish_reason == "error"]
        assert [output.stop_reason.partition(":")[0] for output in failed] == ["softthink"]
        assert "match=text: the requests alive have 8 texts" in failed[0].stop_reason
        assert len([output for output in outputs if output.finish_reason == "length"]) == len(texts)
        assert list(generate(llm, params())[0].token_ids) == alone


def test_a_request_that_the_worker_cannot_take_in_ends_alone(llm, alone, monkeypatch):
    """Also while its prompt is computed in chunks, before it has any output."""

    def fail(*args):
        raise IndexError("as a mistake in it would")

    monkeypatch.setattr(SettingsTable, "write", fail)
    for length in (None, 150):
        output, canary = generate(llm, params(soft()), params(), length=length)
        assert list(canary.token_ids) == alone
        assert (output.finish_reason, output.stop_reason) == ("error", "softthink: as a mistake in it would")
    monkeypatch.undo()
    output, canary = generate(llm, params(soft()), params())
    assert list(canary.token_ids) == alone and output.finish_reason == "length"


def test_streaming_input_is_refused(llm):
    processor = llm.llm_engine.input_processor
    with pytest.raises(VLLMValidationError, match=r"extra_args\['softthink'\] in a session with streaming input"):
        processor.process_inputs("r", {"prompt_token_ids": PROMPT}, params(soft()), ("generate",), resumable=True)


def test_a_history_without_room_is_refused_with_its_size(llm):
    """Where none was reserved a small one is allocated with the first request, and a large one is refused."""
    config = SimpleNamespace(**vars(llm.llm_engine.vllm_config) | {"additional_config": {}})
    check_reserved(config)
    config.scheduler_config = SimpleNamespace(max_num_seqs=2**20)
    with pytest.raises(ValueError, match=r"takes .* GiB for max_num_seqs=1048576 times max_model_len=256, which this"):
        check_reserved(config)
    worker = SimpleNamespace(vllm_config=config, device=torch.device("cpu"))
    reserve_history(worker)
    config.additional_config = {"softthink": {"max_candidates": 64}}
    check_reserved(config)
    config.scheduler_config.max_num_seqs = 2**30
    with pytest.raises(ValueError, match="max_num_seqs=1073741824 times max_model_len=256, and cpu has .* GiB left"):
        reserve_history(worker)


def test_a_prompt_with_more_than_text_is_refused_by_what_it_has(llm):
    processed = llm.llm_engine.input_processor.process_inputs(
        "r", {"type": "token", "prompt_token_ids": PROMPT}, params(), supported_tasks=("generate",)
    )
    check_text_only(processed)
    place = PlaceholderRange(offset=0, length=1)
    processed.mm_features = [
        MultiModalFeatureSpec(data=None, modality=kind, identifier="x", mm_position=place)
        for kind in ("video", "image")
    ]
    with pytest.raises(ValueError, match=r"in a request with \['image', 'video'\].*a prompt of text alone"):
        check_text_only(processed)
