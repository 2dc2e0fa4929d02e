"""What the engine does beside the maths: padding rows, precision, the reference worker, LoRA, entropy."""

import pytest
import torch
from verl.trainer.ppo.padding_utils import construct_minimal_padding_template
from verl.utils import tensordict_utils as tu

from verl_softthink.laws import Action, candidate_log_probs, get_law
from verl_softthink.likelihood.fields import DRAWN, SETTINGS, TRACE_FIELDS
from verl_softthink.likelihood.gradient_norms import group_norms
from verl_softthink.likelihood.parameter_groups import METRICS

from . import reference
from .runs import STOCK, build, infer, responses_of, train, weighted_log_probs
from .samples import SLOTS, jagged, make_batch, random_samples, settings


def with_padding_row(batch):
    """Append verl's own synthetic row, made from sample 0, whose trace it copies at the wrong length."""
    keys = set(batch.keys())
    names = [name for name in keys if isinstance(batch[name], torch.Tensor)]
    source = {name: batch[name].unbind()[0] for name in names}
    padding, _ = construct_minimal_padding_template(source, {}, eos_token_id=1)
    padding["advantages"] = torch.zeros(1)
    assert len(padding[DRAWN]) != len(padding["responses"])
    rows = {name: jagged([*batch[name].unbind(), padding[name]]) for name in names}
    size = len(batch) + 1
    plain = {name: batch[name] for name in keys.difference(names)}
    return tu.get_tensordict(rows, plain | {"micro_batch_size_per_gpu": size})


@pytest.mark.parametrize("packed", [False, True], ids=["padded", "packed"])
def test_synthetic_padding_rows_change_nothing(shared_engine, packed):
    values = settings("gumbel")
    engine = shared_engine(packed)
    batch = make_batch(random_samples("gumbel", values), values, packed=packed, micro_batch=4)
    padded = with_padding_row(batch)
    expected, ours = infer(engine, batch), infer(engine, padded)
    assert len(ours) == len(expected) + 1
    for with_row, without in zip(ours, expected, strict=False):
        torch.testing.assert_close(with_row, without, rtol=0, atol=1e-5)
    loss, gradients = train(engine, padded, weighted_log_probs)
    expected_loss, expected_gradients = train(engine, batch, weighted_log_probs)
    assert loss == pytest.approx(expected_loss, abs=1e-4)
    for name, gradient in expected_gradients.items():
        size = gradient.abs().max().item()
        torch.testing.assert_close(gradients[name], gradient, rtol=0, atol=1e-5 * max(1.0, size))


@pytest.mark.parametrize("normalise_over", ["candidates", "vocabulary"])
@pytest.mark.parametrize("packed", [False, True], ids=["padded", "packed"])
def test_the_density_is_float32_arithmetic_on_bfloat16_logits(model_path, packed, normalise_over):
    """verl's default precision: bf16 autocast. The density of the very logits that the model gave, recomputed."""
    values = settings("concrete", normalise_over=normalise_over)
    samples = random_samples("concrete", values)
    engine = build(model_path("llama"), packed=packed, mixed_precision=None)
    batch = make_batch(samples, values, packed=packed, micro_batch=4)
    captured = []
    hook = engine.module.register_forward_hook(lambda module, arguments, output: captured.append(output.logits))
    ours = infer(engine, batch)
    hook.remove()
    (logits,) = captured
    assert logits.dtype == torch.bfloat16
    starts = batch["input_ids"].offsets().tolist()
    law = get_law("concrete")
    for row, (sample, scores) in enumerate(zip(samples, ours, strict=True)):
        assert scores.dtype == torch.float32
        for position in sample.soft.nonzero()[:, 0].tolist():
            column = len(sample.prompt) + position - 1
            raw = logits[0, starts[row] + column] if packed else logits[row, column]
            action = Action(ids=sample.ids[position][None].long(), values=sample.values[position][None])
            log_probs = candidate_log_probs(
                (raw.float() / values["temperature"])[None], action.ids, normalise_over=normalise_over
            )
            parameters = get_law(values["law"]).columns(1, **values["parameters"])
            expected = law.log_prob(action, log_probs, parameters)[0]
            torch.testing.assert_close(scores[position], expected, rtol=1e-6, atol=1e-5)
    _, gradients = train(engine, batch, weighted_log_probs)
    assert all(gradient.isfinite().all() for gradient in gradients.values())


@pytest.mark.parametrize("strategy", ["fsdp", "fsdp2"])
def test_the_reference_worker_scores_alike(model_path, strategy):
    values = settings("gumbel")
    path = model_path("qwen2")
    batch = make_batch(random_samples("gumbel", values), values, packed=False)
    actor = infer(build(path, strategy=strategy), batch)
    frozen = infer(build(path, strategy=strategy, forward_only=True, model_dtype="fp32"), batch)
    for ours, theirs in zip(frozen, actor, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-6)


def test_fsdp1_with_flat_parameters_takes_the_step_of_fsdp2(model_path):
    """``use_orig_params=False`` is verl's default under FSDP 1; there gradients have no names, but a norm."""
    values = settings("gumbel")
    path = model_path("qwen2", tied=True)
    batch = make_batch(random_samples("gumbel", values), values, packed=False)
    norms, metrics = [], []
    for engine in (build(path, strategy="fsdp", use_orig_params=False), build(path, strategy="fsdp2")):
        with engine.train_mode():
            metrics.append(engine.train_batch(batch, weighted_log_probs)["metrics"])
        norms += [metrics[-1]["grad_norm"], sum(row.sum().item() for row in infer(engine, batch))]
    assert norms[:2] == pytest.approx(norms[2:], rel=1e-5)
    by_group = [[each[name][0] for name in METRICS.values() if name in each] for each in metrics]
    # A tied head is the table; the groups' norms are those before the clip, whose bound is 1.
    assert [len(groups) for groups in by_group] == [0, 2] and norms[2] > 1
    assert sum(norm**2 for norm in by_group[1]) == pytest.approx(float(norms[2]) ** 2, rel=1e-5)


def test_gradient_norms_are_those_of_their_parameters(model_path):
    values = settings("gumbel")
    samples = random_samples("gumbel", values)
    engine = build(model_path("llama"))
    _, gradients = train(engine, make_batch(samples, values, packed=False), weighted_log_probs)
    names = {"table": ["model.embed_tokens.weight"], "head": ["lm_head.weight"]}
    names["layers"] = [name for name in gradients if name not in names["table"] + names["head"]]
    for group, norm in group_norms(engine.module).items():
        assert norm == pytest.approx(float(sum(gradients[name].square().sum() for name in names[group]) ** 0.5))
    # Batches without traces are verl's own, metrics included.
    with engine.train_mode():
        plain = engine.train_batch(make_batch(samples, None, packed=False), weighted_log_probs)
    assert not set(METRICS.values()) & set(plain["metrics"])


def test_lora_adapters_learn_from_soft_positions(model_path):
    values = settings("gumbel")
    path = model_path("llama")
    samples = random_samples("gumbel", values)
    batch = make_batch(samples, values, packed=False)
    engine = build(path, lora_rank=2)
    model = reference.load(path)
    for ours, sample in zip(infer(engine, batch), samples, strict=True):
        expected = reference.response_log_probs(model, sample, values, 0.8)
        torch.testing.assert_close(ours.double(), expected, rtol=1e-5, atol=1e-5)
    with engine.train_mode():
        engine.forward_backward_batch(batch, weighted_log_probs)
        trained = {name for name, p in engine.module.named_parameters() if p.grad is not None and p.requires_grad}
    assert trained
    assert all("lora" in name for name in trained)


def test_entropy_is_that_of_the_next_token(model_path, shared_engine):
    """Where nothing soft was fed, the entropy is the stock engine's; it never becomes the entropy of the law."""
    values = settings("gumbel")
    samples = random_samples("gumbel", values)
    batch = make_batch(samples, values, packed=False, calculate_entropy=True)
    engine = shared_engine(False)
    with engine.eval_mode():
        ours = responses_of(engine.infer_batch(batch)["model_output"]["entropy"], batch)
    plain = make_batch(samples, None, packed=False, calculate_entropy=True)
    stock = build(model_path("llama"), model_type=STOCK)
    with stock.eval_mode():
        theirs = responses_of(stock.infer_batch(plain)["model_output"]["entropy"], plain)
    for sample, mine, expected in zip(samples, ours, theirs, strict=True):
        # The first position that a mixture can influence is the one after it.
        first_soft = sample.soft.nonzero()[0, 0].item() if sample.soft.any() else len(mine)
        torch.testing.assert_close(mine[: first_soft + 1], expected[: first_soft + 1], rtol=0, atol=1e-5)
        if first_soft + 1 < len(mine):
            assert (mine[first_soft + 1 :] - expected[first_soft + 1 :]).abs().max() > 1e-3


def test_a_candidate_table_wider_than_needed_changes_nothing(shared_engine):
    values = settings("concrete")
    batch = make_batch(random_samples("concrete", values), values, packed=False)
    expected = infer(shared_engine(False), batch)
    wide = {
        name: jagged(
            [
                torch.nn.functional.pad(row, (0, SLOTS), value=-1 if name.endswith("ids") else 0)
                for row in field.unbind()
            ]
        )
        for name, field in ((name, batch[name]) for name in TRACE_FIELDS if batch[name].dim() == 3)
    }
    for name, field in wide.items():
        batch[name] = field
    assert batch[SETTINGS]["law"] == "concrete"
    for ours, theirs in zip(infer(shared_engine(False), batch), expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-5)
