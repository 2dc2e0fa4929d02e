"""The anchor of thoughts through verl's engine: the reference's pass, the loss and its gradient, and off."""

import pytest
import torch
from transformers import AutoModelForCausalLM
from verl.utils import tensordict_utils as tu

from verl_softthink.laws import NO_CANDIDATE, get_law
from verl_softthink.laws.action import Action
from verl_softthink.methods.thought_anchor.fields import LOG_PROBS, LOSS, TOKENS, WANTED
from verl_softthink.methods.thought_anchor.metrics import KL

from .models import VOCABULARY
from .runs import actor_config, build, policy_loss, train
from .samples import jagged, make_batch, random_samples, settings

COEFFICIENT, TOKEN_COUNT = 0.7, 5
LAWS = ("gumbel", "discrete")


@pytest.fixture(scope="module", params=[False, True], ids=["padded", "packed"])
def engines(request, model_path, tmp_path_factory):
    """Policy and reference, of different weights, for padded or packed batches."""
    packed, policy, other = request.param, model_path("llama"), tmp_path_factory.mktemp("reference")
    model = AutoModelForCausalLM.from_pretrained(policy)
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn(parameter.shape, generator=generator))
    model.save_pretrained(other)
    return packed, policy, other, build(policy, packed=packed), build(other, packed=packed)


def anchored_batch(samples, values, engine, packed, **loss):
    """The batch of a training pass, after the reference's pass."""
    asked = make_batch(samples, values, packed=packed, **{WANTED: TOKEN_COUNT})
    with engine.eval_mode():
        output = engine.infer_batch(asked)["model_output"]
    batch = make_batch(samples, values, packed=packed, **{LOSS: loss | {"loss_scale_factor": None}})
    lengths = batch["response_mask"].offsets().diff().tolist()
    old = [torch.zeros(length) for length in lengths]
    batch["old_log_probs"] = jagged(old)
    batch[TOKENS], batch[LOG_PROBS] = output[TOKENS], output[LOG_PROBS]
    return batch


def distributions(model, samples, values):
    """Of each response the logits [N, V] over the temperature that predict its soft positions, in float64."""
    law, table = get_law(values["law"]), model.get_input_embeddings().weight
    for sample in samples:
        inputs = [table[token] for token in sample.prompt]
        action = Action(sample.ids.long(), sample.values.double())
        weights = law.weights(action, law.columns(len(sample.ids), **values["parameters"])).double()
        for at, token in enumerate(sample.response):
            mixture = zip(weights[at], sample.ids[at].tolist(), strict=True)
            mixed = [w * table[token] for w, token in mixture if token != NO_CANDIDATE]
            inputs.append(sum(mixed) if sample.soft[at] else table[token])
        logits = model(inputs_embeds=torch.stack(inputs)[None]).logits[0, len(sample.prompt) - 1 : -1]
        yield logits[sample.soft] / values["temperature"]


@pytest.mark.parametrize("law", LAWS)
def test_loss_and_gradient_are_verls_plus_the_divergence_by_hand(law, engines):
    packed, path, other, policy, reference = engines
    values = settings(law, detach_inputs=False)
    samples = random_samples(law, values)
    batch = anchored_batch(
        samples, values, reference, packed, coefficient=COEFFICIENT, loss_agg_mode="seq-mean-token-sum"
    )
    verl = policy_loss(actor_config(loss_agg_mode="seq-mean-token-sum", use_kl_loss=False, entropy_coeff=0))
    loss, gradients = train(policy, batch, verl)
    tu.pop(batch, LOSS)
    plain, plain_gradients = train(policy, batch, verl)

    models = [AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float64) for folder in (path, other)]
    term = torch.zeros((), dtype=torch.float64)
    for p, q in zip(*(distributions(model, samples, values) for model in models), strict=True):
        q = q.detach().softmax(-1)
        for p_row, q_row in zip(p.softmax(-1), q, strict=True):
            named = q_row.argsort(descending=True)[:TOKEN_COUNT]
            others = torch.ones(VOCABULARY, dtype=torch.bool).index_fill(0, named, False)
            a = torch.cat((p_row[named], p_row[others].sum()[None]))
            b = torch.cat((q_row[named], q_row[others].sum()[None]))
            term = term + (a * (a / b).log()).sum() / len(samples)
    (COEFFICIENT * term).backward()
    assert loss - plain == pytest.approx(COEFFICIENT * term.item(), rel=1e-4) and term > 0.1
    for name, parameter in models[0].named_parameters():
        difference = (gradients[name] - plain_gradients[name]).double()
        torch.testing.assert_close(difference, parameter.grad, rtol=1e-3, atol=1e-5, msg=lambda m, n=name: n + m)


def test_no_log_prob_of_a_reference_pass_changes_and_only_soft_positions_have_tokens(engines):
    packed, *_, reference = engines
    values = settings("gumbel")
    samples = random_samples("gumbel", values)
    with reference.eval_mode():
        asked = reference.infer_batch(make_batch(samples, values, packed=packed, **{WANTED: 3}))["model_output"]
        plain = reference.infer_batch(make_batch(samples, values, packed=packed))["model_output"]
    assert torch.equal(asked["log_probs"].values(), plain["log_probs"].values())
    assert asked.keys() - plain.keys() == {TOKENS, LOG_PROBS}
    for sample, ids, log_probs in zip(samples, asked[TOKENS].unbind(), asked[LOG_PROBS].unbind(), strict=True):
        assert ids.shape == (len(sample.response), 3) and log_probs.shape == (len(sample.response), 4)
        assert torch.equal((ids != NO_CANDIDATE).all(-1), sample.soft)
        torch.testing.assert_close(log_probs[sample.soft].exp().sum(-1), torch.ones(int(sample.soft.sum())))


def test_a_policy_that_is_the_reference_has_verls_gradients_and_reports_no_divergence(engines):
    packed, _, _, policy, _ = engines
    values = settings("gumbel")
    samples = random_samples("gumbel", values)
    batch = anchored_batch(samples, values, policy, packed, coefficient=1.0, loss_agg_mode="token-mean")
    verl = policy_loss(actor_config(use_kl_loss=False, entropy_coeff=0))
    with policy.train_mode():
        reported = policy.forward_backward_batch(batch, verl)["metrics"][KL]
    assert reported.aggregate() == pytest.approx(0, abs=1e-6)
    _, gradients = train(policy, batch, verl)
    tu.pop(batch, LOSS)
    _, plain = train(policy, batch, verl)
    for name, gradient in gradients.items():
        torch.testing.assert_close(gradient, plain[name], rtol=1e-5, atol=1e-6)


def test_a_training_pass_without_the_references_distributions_is_refused(engines):
    packed, _, _, policy, _ = engines
    values = settings("gumbel")
    loss = {"coefficient": 1.0, "loss_agg_mode": "token-mean", "loss_scale_factor": None}
    batch = make_batch(random_samples("gumbel", values), values, packed=packed, **{LOSS: loss})
    with pytest.raises(ValueError, match="use_kl_loss=True"):
        train(policy, batch, policy_loss(actor_config()))
