"""Influence measured beside the log-probs, in the engine, equals the influence of each sequence alone."""

import pytest
import torch
from likelihood.models import VOCABULARY
from likelihood.runs import weighted_log_probs
from likelihood.samples import jagged, make_batch, random_samples, settings
from transformers import AutoModelForCausalLM
from verl.utils import tensordict_utils as tu

from verl_softthink.likelihood.shared_prefix import SHARED_PREFIX
from verl_softthink.methods.attnrl.fields import INFLUENCE, STEPS
from verl_softthink.methods.attnrl.influence import ForwardContextInfluence
from verl_softthink.methods.attnrl.steps import SteppedSequence

#: Prompt tokens and the tokens of every step.
ROWS = ((4, (3, 2, 5, 1, 4, 2, 6)), (2, (1,) * 9), (7, (3,)), (3, (2, 2, 3, 4, 1, 2, 2, 8)))


def batch(packed, *, padding_row=False, steps=None, **extra):
    generator = torch.Generator().manual_seed(0)
    sequences = [torch.randint(VOCABULARY, (p + sum(s),), generator=generator) for p, s in ROWS]
    masks = [torch.ones(sum(s), dtype=torch.int64) for _, s in ROWS]
    steps = steps or [torch.tensor(s) for _, s in ROWS]
    if padding_row:
        # As verl makes them: a short masked sequence with the fields of another sample.
        sequences[2], masks[2], steps[2] = sequences[2][:2], masks[2][:1] * 0, steps[0]
    responses = [sequence[-len(mask) :] for sequence, mask in zip(sequences, masks, strict=True)]
    tensors = {
        "input_ids": jagged(sequences),
        "position_ids": jagged([torch.arange(len(sequence)) for sequence in sequences]),
        "prompts": jagged([s[: -len(m)] for s, m in zip(sequences, masks, strict=True)]),
        "responses": jagged(responses),
        "response_mask": jagged(masks),
        "loss_mask": jagged(masks),
        "advantages": jagged([mask.float() for mask in masks]),
        STEPS: jagged(steps),
    }
    plain = {
        "temperature": 1.0,
        "use_remove_padding": packed,
        "use_dynamic_bsz": False,
        "micro_batch_size_per_gpu": 2,
        "global_batch_size": len(ROWS),
        "calculate_entropy": True,
    }
    return tu.get_tensordict(tensors, plain | extra)


def infer(engine, data):
    with torch.no_grad(), engine.eval_mode():
        return engine.infer_batch(data)["model_output"]


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("padding_row", [False, True])
def test_it_equals_the_influence_of_every_sequence_alone(model_path, shared_engine, packed, padding_row):
    data = batch(packed, padding_row=padding_row)
    found = infer(shared_engine(packed), data)
    assert not infer(shared_engine(packed), data.exclude(STEPS)).keys() & {INFLUENCE}
    model = AutoModelForCausalLM.from_pretrained(model_path("llama"), dtype=torch.float32).eval()
    for index, (values, (prompt, steps)) in enumerate(zip(found[INFLUENCE].unbind(), ROWS, strict=True)):
        if padding_row and index == 2:
            assert values.tolist() == [0.0] * len(ROWS[0][1])
            continue
        with torch.no_grad(), ForwardContextInfluence(model, [SteppedSequence(0, 0, (prompt, *steps))]) as alone:
            model(data["input_ids"].unbind()[index][None])
        torch.testing.assert_close(values, alone.values[0][1:], rtol=1e-4, atol=1e-6)
        assert bool(values.any()) == (len(steps) > 5)
    assert found["log_probs"].offsets().tolist() == data["input_ids"].offsets().tolist()


@pytest.mark.parametrize("packed", [True, False])
def test_it_is_measured_on_what_was_fed(model_path, shared_engine, packed):
    """Soft positions by their mixtures, summed by hand and given to the model as ``inputs_embeds``."""
    values = settings("concrete", temperature=1.0)
    samples = random_samples("concrete", values)
    # Twelve, six, nine and eight positions, in steps of one or two.
    steps = [[1] * 6 + [2] * 3, [1] * 6, [2] + [1] * 7, [1] * 8]
    data = make_batch(samples, values, packed=packed, calculate_entropy=True)
    data[STEPS] = jagged([torch.tensor(of_row) for of_row in steps])
    found = infer(shared_engine(packed), data)
    model = AutoModelForCausalLM.from_pretrained(model_path("llama"), dtype=torch.float32).eval()
    table = model.get_input_embeddings().weight.detach()
    differs = []
    for index, (sample, of_row) in enumerate(zip(samples, steps, strict=True)):
        sequence = [SteppedSequence(0, 0, (len(sample.prompt), *of_row))]
        tokens = torch.tensor(sample.prompt + sample.response)
        fed = table[tokens].clone()
        for position in sample.soft.nonzero()[:, 0].tolist():
            used = sample.ids[position] >= 0
            weights = (sample.values[position][used] / values["parameters"]["tau"]).softmax(-1)
            fed[len(sample.prompt) + position] = weights @ table[sample.ids[position][used].long()]
        with torch.no_grad(), ForwardContextInfluence(model, sequence) as soft:
            model(inputs_embeds=fed[None])
        with torch.no_grad(), ForwardContextInfluence(model, sequence) as discrete:
            model(tokens[None])
        ours = found[INFLUENCE].unbind()[index]
        torch.testing.assert_close(ours, soft.values[0][1:], rtol=1e-4, atol=1e-6)
        differs.append(not torch.allclose(ours, discrete.values[0][1:], rtol=1e-2))
    # The second response has no soft position.
    assert differs == [True, False, True, True]


def test_refusals(shared_engine):
    engine = shared_engine(True)
    with pytest.raises(ValueError, match="is selected for a training pass"), engine.train_mode():
        engine.forward_backward_batch(batch(True), weighted_log_probs)
    with pytest.raises(ValueError, match="'dedup' with softthink_steps, which reads whole rows"):
        infer(engine, batch(True, **{SHARED_PREFIX: "dedup"}))
    with pytest.raises(ValueError, match="row 1: softthink_steps adds up to 8 tokens, and its response has 9"):
        steps = [torch.tensor(s) for _, s in ROWS]
        steps[1] = torch.tensor((1,) * 8)
        infer(engine, batch(True, steps=steps))
