"""Soft-target fine-tuning through verl's data set, collator, loss and FSDP engine, against slow references."""

from functools import partial

import pytest
import torch
from omegaconf import OmegaConf
from transformers import AutoModelForCausalLM
from verl.trainer.sft_trainer import create_sft_dataset
from verl.utils import tensordict_utils as tu
from verl.utils.dataset.dataset_utils import SFTTensorCollator
from verl.workers.utils.losses import sft_loss

from verl_softthink.data.sft_rows import TOKEN, SftRow, write_sft_rows
from verl_softthink.laws import NO_CANDIDATE
from verl_softthink.likelihood.engine import MODEL_TYPE
from verl_softthink.likelihood.soft_targets import soft_targets
from verl_softthink.training.soft_sft.settings import SoftSftSettings

from .models import VOCABULARY
from .runs import STOCK, build, train

ENGINE = {"temperature": 1.0, "use_dynamic_bsz": False, "micro_batch_size_per_gpu": 2, "calculate_entropy": False}
CLEAN = {"jitter": {"sigma": 0.0, "leak": 0.0}}
#: What torchrun tells the only process of a run.
TORCHRUN = {
    "WORLD_SIZE": "1",
    "RANK": "0",
    "LOCAL_WORLD_SIZE": "1",
    "LOCAL_RANK": "0",
    "MASTER_ADDR": "127.0.0.1",
    "MASTER_PORT": "29500",
}
#: Prompt, thoughts and other tokens of each row; a thought has one to three candidates.
SHAPES = ((3, 4, 2), (5, 2, 3), (2, 0, 4), (4, 6, 1))


def make_rows(candidates: int = 3) -> list[SftRow]:
    generator = torch.Generator().manual_seed(5)
    rows = []
    for prompt, thoughts, tokens in SHAPES:
        targets = []
        for _ in range(thoughts):
            count = int(torch.randint(1, candidates + 1, (), generator=generator))
            ids = torch.randperm(VOCABULARY, generator=generator)[:count].tolist()
            weights = torch.rand(count, generator=generator) + 0.1
            targets.append((ids, (weights / weights.sum()).tolist()))
        words = torch.randint(0, VOCABULARY, (prompt + tokens,), generator=generator).tolist()
        response = [ids[0] for ids, _ in targets] + words[prompt:]
        mask = [1] * len(response)
        mask[-1] = int(tokens == 1)  # some are fed and not predicted
        rows.append(SftRow(words[:prompt], response, mask, [*targets, *[TOKEN] * tokens]))
    return rows


def batch_of(rows, folder, packed: bool, soft_sft: dict | None = None, **overrides):
    """As verl's SFT trainer makes it."""
    write_sft_rows(rows, folder / "rows.parquet")
    config = {
        "custom_cls": {"path": "pkg://verl_softthink.training.soft_sft.dataset", "name": "SftDataset"},
        "pad_mode": "no_padding",
        "max_length": 32,
        "soft_sft": soft_sft,
    }
    dataset = create_sft_dataset([str(folder / "rows.parquet")], OmegaConf.create(config | overrides), None, None)
    meta = ENGINE | {"use_remove_padding": packed, "pad_mode": "no_padding", "global_batch_size": len(rows)}
    return tu.get_tensordict(SFTTensorCollator("no_padding")(list(dataset)), meta)


def watch(engine, monkeypatch) -> list[list[tuple[list[int], list[float]]]]:
    """What every forward pass feeds its thoughts: ids and weights, in their order."""
    passes = []
    feed = engine._soft_inputs.feed

    def watched(mixtures):
        passes.append(
            [
                ([int(token) for token in ids if token != NO_CANDIDATE], weights[ids != NO_CANDIDATE].tolist())
                for ids, weights in zip(mixtures.ids, mixtures.weights, strict=True)
            ]
        )
        feed(mixtures)

    monkeypatch.setattr(engine._soft_inputs, "feed", watched)
    return passes


def reference(path, rows, fed) -> tuple[float, dict[str, torch.Tensor]]:
    """Loss and gradients in float64, one row, position and candidate at a time; ``fed`` goes through the thoughts."""
    model = AutoModelForCausalLM.from_pretrained(path, dtype=torch.float64)
    table, fed = model.get_input_embeddings().weight, iter(fed)
    loss, predicted = torch.zeros((), dtype=torch.float64), sum(sum(row.mask) for row in rows)
    for row in rows:
        inputs = [table[token] for token in row.prompt]
        for token, (ids, _) in zip(row.response, row.targets, strict=True):
            if not ids:
                inputs.append(table[token])
                continue
            inputs.append(sum(weight * table[candidate] for candidate, weight in zip(*next(fed), strict=True)))
        logits = model(inputs_embeds=torch.stack(inputs)[None]).logits[0]
        for position, (token, used, (ids, weights)) in enumerate(
            zip(row.response, row.mask, row.targets, strict=True), start=len(row.prompt)
        ):
            log_probs = logits[position - 1].log_softmax(-1)
            for candidate, weight in zip(ids or [token], weights or [1.0], strict=True):
                loss = loss - used * weight * log_probs[candidate] / predicted
    loss.backward()
    return loss.item(), {name: parameter.grad for name, parameter in model.named_parameters()}


def assert_gradients(found, expected):
    assert found.keys() == expected.keys()
    for name, gradient in found.items():
        torch.testing.assert_close(
            gradient.double(), expected[name].double(), rtol=1e-4, atol=1e-6, msg=lambda m, n=name: n + m
        )


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize(
    "soft_sft",
    [
        CLEAN,
        {"jitter": {"sigma": 0.5, "leak": 0.3, "leak_slots": 4}},
        {"jitter": {"sigma": 0.2, "leak": 0.0}, "law": {"name": "gumbel", "tau": 1.0}},
        {"law": {"name": "multiplex", "draws": 5}, **CLEAN},
        {"own_probability": 0.5, "own_passes": 2, "filter": {"top_k": 0, "top_p": 0.9, "max_topk": 6}},
    ],
    ids=["clean", "jitter", "gumbel", "multiplex", "own"],
)
def test_loss_and_gradient_are_exact_whatever_is_fed(soft_sft, packed, model_path, tmp_path, monkeypatch):
    rows = make_rows()
    engine = build(model_path("qwen3"), model_type=MODEL_TYPE, packed=packed)
    passes = watch(engine, monkeypatch)
    loss, gradients = train(engine, batch_of(rows, tmp_path, packed, soft_sft), partial(sft_loss, config=None))
    # Two micro-batches of two rows; the last pass of each is the one that is trained.
    each = len(passes) // 2
    assert each == 1 + soft_sft.get("own_passes", 0)
    fed = passes[each - 1] + passes[-1]
    targets = [target for row in rows for target in row.targets if target[0]]
    assert len(fed) == len(targets)
    assert all(sum(weights) == pytest.approx(1, abs=1e-5) for _, weights in fed)
    changed = sum(
        len(mine[0]) != len(theirs[0]) or mine[1] != pytest.approx(theirs[1])
        for mine, theirs in zip(fed, targets, strict=True)
    )
    assert changed == 0 if soft_sft is CLEAN else changed >= len(targets) // 4
    expected_loss, expected = reference(model_path("qwen3"), rows, fed)
    assert loss == pytest.approx(expected_loss, rel=1e-5)
    assert_gradients(gradients, expected)


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("tied", [False, True])
def test_one_hot_targets_are_ordinary_fine_tuning(packed, tied, model_path, tmp_path):
    path, rows = model_path("llama", tied=tied), make_rows(candidates=1)
    soft = train(
        build(path, model_type=MODEL_TYPE, packed=packed),
        batch_of(rows, tmp_path, packed, CLEAN),
        partial(sft_loss, config=None),
    )
    tokens = [SftRow(row.prompt, row.response, row.mask) for row in rows]
    stock = train(
        build(path, model_type=STOCK, packed=packed),
        batch_of(tokens, tmp_path, packed),
        partial(sft_loss, config=None),
    )
    assert soft[0] == pytest.approx(stock[0], rel=1e-6)
    for name, gradient in stock[1].items():
        torch.testing.assert_close(soft[1][name], gradient, rtol=1e-6, atol=1e-6, msg=lambda m, n=name: n + m)


def test_enough_passes_feed_what_a_rollout_feeds(model_path, tmp_path, monkeypatch):
    """With as many passes as thoughts every thought is the model's own after its own."""
    rows, path = make_rows(), model_path("qwen3")
    engine = build(path, model_type=MODEL_TYPE)
    passes = watch(engine, monkeypatch)
    soft_sft = CLEAN | {"own_probability": 1.0, "own_passes": 6, "filter": {"top_k": 0, "top_p": 1.0, "max_topk": 4}}
    train(engine, batch_of(rows, tmp_path, False, soft_sft), partial(sft_loss, config=None))
    fed = iter(passes[6] + passes[-1])

    model = AutoModelForCausalLM.from_pretrained(path, dtype=torch.float64).requires_grad_(False)
    table = model.get_input_embeddings().weight
    for row in rows:
        inputs = [table[token] for token in row.prompt]
        for ids, _ in row.targets:
            if not ids:
                break
            top = model(inputs_embeds=torch.stack(inputs)[None]).logits[0, -1].topk(4)
            weights = top.values.softmax(-1)
            found = next(fed)
            assert found[0] == top.indices.tolist() and found[1] == pytest.approx(weights.tolist(), abs=1e-4)
            inputs.append(weights @ table[top.indices])


def test_validation_feeds_the_targets_and_noise_goes_on(model_path, tmp_path, monkeypatch):
    rows = make_rows()
    engine = build(model_path("llama"), model_type=MODEL_TYPE)
    passes = watch(engine, monkeypatch)
    batch = batch_of(rows, tmp_path, False, {"own_probability": 1.0})
    for _ in range(2):
        train(engine, batch, partial(sft_loss, config=None))
        engine.lr_scheduler_step()
    with engine.eval_mode():
        engine.infer_batch(batch, partial(sft_loss, config=None))
    assert len(passes) == 2 * 4 + 2
    assert passes[0] != passes[4], "every step has noise of its own"
    targets = [target for row in rows for target in row.targets if target[0]]
    for (ids, weights), (target_ids, target_weights) in zip(passes[-2] + passes[-1], targets, strict=True):
        assert ids == target_ids and weights == pytest.approx(target_weights)


def test_a_resumed_run_draws_what_the_whole_one_would_have_drawn(model_path, tmp_path, monkeypatch):
    batch = batch_of(make_rows(), tmp_path, False, {})

    def step(engine):
        train(engine, batch, partial(sft_loss, config=None))
        engine.lr_scheduler_step()

    whole = build(model_path("llama"), model_type=MODEL_TYPE)
    passes = watch(whole, monkeypatch)
    step(whole)
    whole.save_checkpoint(str(tmp_path / "checkpoint"), global_step=1)
    step(whole)
    resumed = build(model_path("llama"), model_type=MODEL_TYPE)
    resumed.load_checkpoint(str(tmp_path / "checkpoint"))
    again = watch(resumed, monkeypatch)
    step(resumed)
    assert len(passes) == 4 and again == passes[2:]


def test_settings_and_rows_that_do_not_fit_are_refused(tmp_path):
    rows = make_rows()
    for overrides, message in (
        ({"pad_mode": "right"}, "data.pad_mode='right'"),
        ({"max_length": 10}, "data.max_length=10 is below the longest row's 11 tokens"),
        ({"soft_sft": None}, r"data.soft_sft is not set; add \+softthink=soft_sft"),
        ({"soft_sft": {"jitter": {"sigma": -1}}}, "softthink.soft_sft.jitter.sigma=-1"),
        ({"soft_sft": {"law": {"name": "gaussian"}}}, "law.name='gaussian' draws embeddings"),
        ({"soft_sft": {"own": 1}}, "softthink.soft_sft.own=1: unknown key"),
    ):
        with pytest.raises(ValueError, match=message):
            batch_of(rows, tmp_path, False, **({"soft_sft": CLEAN} | overrides))


def test_fields_that_do_not_fit_are_refused():
    ids = torch.nested.nested_tensor([torch.tensor([1, 2, 3]), torch.tensor([4])], layout=torch.jagged)
    one = [torch.tensor([5, -1, -1]), torch.tensor([-1])]
    weights = torch.nested.nested_tensor([torch.ones(3), torch.ones(1)], layout=torch.jagged)
    with pytest.raises(ValueError, match="row 0 has a target distribution at its first position"):
        soft_targets(ids, torch.nested.nested_tensor(one, layout=torch.jagged), weights)
    longer = torch.nested.nested_tensor([torch.tensor([-1] * 4), torch.tensor([5, 6, 7, 8])], layout=torch.jagged)
    with pytest.raises(ValueError, match="the same number of slots"):
        soft_targets(ids, longer, weights)


def test_the_recipe_is_complete_and_holds_the_defaults():
    from verl_softthink.training.recipe_store import recipe_text

    recipe = OmegaConf.to_container(OmegaConf.create(recipe_text("soft_sft")).softthink.soft_sft)
    assert recipe == SoftSftSettings().model_dump()


def test_verls_sft_trainer_gets_the_engine_that_its_model_names(model_path, monkeypatch):
    """Its worker is asked for ``language_model`` whatever the configuration says."""
    for name, value in TORCHRUN.items():
        monkeypatch.setenv(name, value)
    path = model_path("llama")
    assert type(training_worker(path, MODEL_TYPE).engine).__name__ == "SoftThinkFSDPEngine"
    assert type(training_worker(path, STOCK).engine).__name__ != "SoftThinkFSDPEngine"


def training_worker(path, model_type: str):
    """As ``SFTTrainer._build_engine`` makes it."""
    from verl.trainer.config import CheckpointConfig
    from verl.workers.config import FSDPEngineConfig, FSDPOptimizerConfig, HFModelConfig, TrainingWorkerConfig
    from verl.workers.engine_workers import TrainingWorker

    config = TrainingWorkerConfig(
        model_type=STOCK,
        model_config=HFModelConfig(path=str(path), load_tokenizer=False, model_type=model_type),
        engine_config=FSDPEngineConfig(strategy="fsdp2", use_torch_compile=False),
        optimizer_config=FSDPOptimizerConfig(lr=1e-3, total_training_steps=10),
        checkpoint_config=CheckpointConfig(),
    )
    return TrainingWorker(config=config)
