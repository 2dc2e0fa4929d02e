"""The engine against the written-out likelihood of reference.py: log-probs and every parameter's gradient."""

import pytest
import torch

from . import reference
from .runs import build, infer, train, weighted_log_probs
from .samples import make_batch, random_samples, settings

# FSDP 2 loses its backward hook when a module returns a view that is then changed in place.
pytestmark = pytest.mark.filterwarnings("error:.*returned a view tensor")

ANSWER_TEMPERATURE = 0.8  # of make_batch
ARCHITECTURES = ["llama", "qwen2", "qwen3", "gemma", "gemma2", "gemma3_text", "granite"]


def check(engine, path, samples, values, *, packed, **batch_options):
    """Compare log-probs and gradients."""
    batch = make_batch(samples, values, packed=packed, **batch_options)
    model = reference.load(path)
    expected = [reference.response_log_probs(model, s, values, ANSWER_TEMPERATURE) for s in samples]
    for ours, theirs in zip(infer(engine, batch), expected, strict=True):
        torch.testing.assert_close(ours.double(), theirs, rtol=1e-5, atol=1e-5)

    weights = batch["advantages"].unbind()
    loss = sum((e * w.double()).sum() for e, w in zip(expected, weights, strict=True))
    loss.backward()
    our_loss, gradients = train(engine, batch, weighted_log_probs)
    assert our_loss == pytest.approx(loss.item(), rel=1e-5, abs=1e-5)
    theirs = {name: parameter.grad for name, parameter in model.named_parameters()}
    assert gradients.keys() == theirs.keys()
    for name, gradient in gradients.items():
        size = theirs[name].abs().max().item()
        assert size > 0, name
        torch.testing.assert_close(
            gradient.double(), theirs[name], rtol=0, atol=1e-5 * max(1.0, size), msg=lambda m, n=name: f"{n}: {m}"
        )


@pytest.mark.parametrize("tied", [False, True], ids=["untied", "tied"])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_architectures(model_path, architecture, tied):
    path = model_path(architecture, tied=tied)
    values = settings("gumbel")
    check(build(path), path, random_samples("gumbel", values), values, packed=False)


@pytest.mark.parametrize("packed", [False, True], ids=["padded", "packed"])
@pytest.mark.parametrize(
    "values",
    [
        settings("gumbel", tau=0.1, noise_scale=0.7),
        settings("gumbel", normalise_over="vocabulary"),
        settings("concrete"),
        settings("concrete", tau=0.3, noise_scale=1.4, normalise_over="vocabulary"),
        settings("gumbel_reference"),
        settings("discrete", temperature=1.3),
    ],
    ids=lambda values: f"{values['law']}-{values['normalise_over']}",
)
def test_laws(shared_engine, model_path, values, packed):
    check(
        shared_engine(packed), model_path("llama"), random_samples(values["law"], values, seed=1), values, packed=packed
    )


@pytest.mark.parametrize("packed", [False, True], ids=["padded", "packed"])
@pytest.mark.parametrize("strategy", ["fsdp", "fsdp2"])
def test_strategies(model_path, strategy, packed):
    path = model_path("qwen2", tied=True)
    values = settings("concrete")
    samples = random_samples("concrete", values, seed=2)
    engine = build(path, strategy=strategy, packed=packed)
    check(engine, path, samples, values, packed=packed)
    # All in one micro-batch, and one by one.
    check(engine, path, samples, values, packed=packed, micro_batch=4)
    check(engine, path, samples, values, packed=packed, micro_batch=1)
    check(engine, path, samples, values, packed=packed, use_dynamic_bsz=True, max_token_len_per_gpu=30)


@pytest.mark.parametrize("packed", [False, True], ids=["padded", "packed"])
def test_sliding_window_and_softcapping_when_packed(model_path, packed):
    path = model_path("gemma2")
    values = settings("gumbel")
    check(build(path, packed=packed), path, random_samples("gumbel", values, seed=3), values, packed=packed)


@pytest.mark.parametrize("packed", [False, True], ids=["padded", "packed"])
def test_detached_inputs(shared_engine, model_path, packed):
    values = settings("gumbel", detach_inputs=True)
    check(shared_engine(packed), model_path("llama"), random_samples("gumbel", values), values, packed=packed)


def test_detaching_changes_the_embeddings_gradient_only_through_soft_inputs(shared_engine):
    engine = shared_engine(False)
    gradients = {}
    for detach in (False, True):
        values = settings("gumbel", detach_inputs=detach)
        batch = make_batch(random_samples("gumbel", values), values, packed=False)
        _, gradients[detach] = train(engine, batch, weighted_log_probs)
    name = "model.embed_tokens.weight"
    assert (gradients[False][name] - gradients[True][name]).abs().max() > 1e-3
    for other in gradients[False].keys() - {name}:
        torch.testing.assert_close(gradients[False][other], gradients[True][other], rtol=0, atol=1e-6)


def test_gradient_checkpointing(model_path):
    path = model_path("qwen3")
    values = settings("gumbel")
    engine = build(path, enable_gradient_checkpointing=True)
    check(engine, path, random_samples("gumbel", values), values, packed=False)


def test_packed_batches_padded_to_a_bucket(model_path):
    path = model_path("llama")
    values = settings("gumbel")
    engine = build(path, packed=True, pad_to_length=True, pad_to_length_bucket=64)
    check(engine, path, random_samples("gumbel", values), values, packed=True)
