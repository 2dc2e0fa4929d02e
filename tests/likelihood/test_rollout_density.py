"""The rollout's own log-density is the engine's: soft steps on a Hugging Face model, then verl's FSDP engine."""

from types import SimpleNamespace

import pytest
import torch
from transformers import AutoModelForCausalLM
from verl.workers.rollout.vllm_rollout.utils import monkey_patch_compute_logits

from verl_softthink.config.settings import LawSettings
from verl_softthink.laws.gaussian import coordinate_noise
from verl_softthink.laws.noise import normal
from verl_softthink.likelihood.fields import FED, SCALE, SEED
from verl_softthink.likelihood.unsampled import Unsampled
from verl_softthink.rollout.embedding import TableEmbedding, mixture_embeddings
from verl_softthink.rollout.request import resolve
from verl_softthink.rollout.state import SoftState
from verl_softthink.rollout.step import soft_step
from verl_softthink.trace import unpack_rows

from .models import HIDDEN, VOCABULARY, write_model, write_tokenizer
from .runs import build, infer, train, weighted_log_probs
from .samples import COLLAPSED, FORCED, SOFT_POSITION, TOKEN, Sample, jagged, make_batch

SLOTS, TEMPERATURE = 5, 0.7
#: Tokens of the padded model's tokenizer.
KNOWN = 48
LAWS = {
    "gaussian over the vocabulary": {"name": "gaussian"},
    "gaussian over candidates": {"name": "gaussian", "normalise_over": "candidates", "gamma": 0.6},
    "gaussian from its seed": {"name": "gaussian", "normalise_over": "candidates", "fed": "seed"},
    "multiplex": {"name": "multiplex"},
    "multiplex by probability": {"name": "multiplex", "draws": 5, "weighting": "probability"},
    "dirichlet": {"name": "dirichlet", "concentration": 2.5},
    "gaussian with sampled tokens": {"name": "gaussian", "shown": "sampled"},
    "gaussian from its seed with sampled tokens": {
        "name": "gaussian",
        "normalise_over": "candidates",
        "fed": "seed",
        "shown": "sampled",
    },
    "gaussian among the candidates": {
        "name": "gaussian",
        "normalise_over": "candidates",
        "fed": "seed",
        "covariance": "candidates",
        "gamma": 1.0,
    },
    "gumbel": {"name": "gumbel", "tau": 0.5},
}


@torch.no_grad()
def roll_out(model, law: dict, prompts: list[list[int]], length: int, known: int = VOCABULARY):
    """Samples and traces, from the step that runs inside vLLM; prompts of one length each, one at a time.

    Tokens from ``known`` on are masked, as verl's server does.
    """
    masked = SimpleNamespace(compute_logits=lambda inputs: model(inputs_embeds=inputs[None]).logits[0, -1:])
    monkey_patch_compute_logits(masked, known)
    samples, traces = [], []
    embedding = TableEmbedding(model.get_input_embeddings().weight.detach())
    for number, prompt in enumerate(prompts):
        settings = {
            "law": law,
            "filter": {"temperature": TEMPERATURE, "top_k": 0, "top_p": 0.9},
            "phase": {"end_of_thinking": [3, 4], "budget": length - 4},
            "seed": 40 + number,
        }
        request = resolve(settings, max_tokens=length, width=SLOTS, carries_embeddings=True, tokenize=None)
        state = SoftState(slots=1, length=length, width=SLOTS, device=torch.device("cpu"), fed=(HIDDEN, torch.float32))
        state.add("r", request)
        slot = torch.tensor([state.slot("r")])
        inputs = embedding._table[torch.tensor(prompt)]
        tokens, rows = [], []
        for index in range(length):
            logits = masked.compute_logits(inputs)
            result = soft_step(state, logits, slot, torch.tensor([index]), embedding)
            tokens.append(int(result.token) if result.overrides else int(logits.argmax()))
            rows.append(result.rows[:, : state.row_columns("r")])
            mixed, soft = mixture_embeddings(state, slot, torch.tensor([index]), embedding)
            inputs = torch.cat((inputs, mixed if soft else embedding._table[tokens[-1:]]))
        trace = unpack_rows(torch.cat(rows).numpy())
        kinds = [
            SOFT_POSITION if soft else COLLAPSED if drawn else FORCED if forced else TOKEN
            for soft, drawn, forced in zip(trace.soft, trace.drawn, trace.forced, strict=True)
        ]
        samples.append(Sample(prompt, tokens, kinds, trace.ids, trace.values))
        traces.append((trace, request.seed))
    return samples, traces


def batch_of(law: dict, samples, traces, *, packed: bool, **scoring):
    settings = LawSettings(**law)
    values = settings.scoring() | {"temperature": TEMPERATURE, "detach_inputs": False} | scoring
    batch = make_batch(samples, values, packed=packed)
    if settings.name == "gaussian":
        columns = {
            SCALE: [trace.scale for trace, _ in traces],
            FED: [trace.fed for trace, _ in traces],
            SEED: [torch.full((len(trace),), seed) for trace, seed in traces],
        }
        for name in (SCALE, FED if settings.carries_embedding else SEED):
            batch[name] = jagged(columns[name])
    return batch


PROMPTS = [[7, 12, 30], [9, 5, 41, 22, 17], [50, 8], [13, 14, 15, 16]]


@pytest.fixture(scope="module")
def model(model_path):
    return AutoModelForCausalLM.from_pretrained(model_path("llama"), dtype=torch.float32, attn_implementation="eager")


@pytest.mark.parametrize("packed", [False, True], ids=["padded", "packed"])
@pytest.mark.parametrize("law", LAWS.values(), ids=LAWS.keys())
def test_old_log_prob_is_the_rollouts_log_density(shared_engine, model, law, packed):
    samples, traces = roll_out(model, law, PROMPTS, length=14)
    batch = batch_of(law, samples, traces, packed=packed)
    drawn = 0
    for ours, (trace, _) in zip(infer(shared_engine(packed), batch), traces, strict=True):
        at = trace.drawn
        drawn += int(at.sum())
        torch.testing.assert_close(ours[at], trace.log_prob[at], rtol=1e-5, atol=1e-4)
        assert trace.log_prob[at].std() > 0
    assert drawn >= 25


@pytest.fixture(scope="module")
def padded_model(tmp_path_factory):
    """A model of which the last 13 tokens are padding, likelier than others, and its engine."""
    path = tmp_path_factory.mktemp("padded")
    write_model(path, "llama", tied=False)
    write_tokenizer(path, KNOWN)
    model = AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32, attn_implementation="eager")
    with torch.no_grad():
        model.lm_head.weight[KNOWN:] *= 2
    model.save_pretrained(path)
    return model, build(path, load_tokenizer=True)


@pytest.mark.parametrize(
    ("law", "at_once"),
    [("gaussian over the vocabulary", None), ("multiplex", None), ("multiplex", 3), ("gumbel", None)],
)
def test_what_the_rollout_masks_is_masked_in_training(padded_model, law, at_once, monkeypatch):
    model, engine = padded_model
    samples, traces = roll_out(model, LAWS[law], PROMPTS, length=14, known=KNOWN)
    batch = batch_of(LAWS[law], samples, traces, packed=False, positions_at_once=at_once)
    for ours, (trace, _) in zip(infer(engine, batch), traces, strict=True):
        assert ours.isfinite().all()
        torch.testing.assert_close(ours[trace.drawn], trace.log_prob[trace.drawn], rtol=1e-5, atol=1e-4)
    loss, gradients = train(engine, batch, weighted_log_probs)
    assert all(gradient.isfinite().all() for gradient in gradients.values())
    assert not gradients["lm_head.weight"][KNOWN:].any() and gradients["lm_head.weight"][:KNOWN].any()
    if law != "gumbel":
        # Of the same batch without the mask: what is over the vocabulary counts the padding.
        monkeypatch.setattr(engine, "_unsampled", Unsampled(VOCABULARY))
        ours, (trace, _) = infer(engine, batch)[0], traces[0]
        assert float((ours[trace.soft] - trace.log_prob[trace.soft]).abs().max()) > 0.1


@pytest.mark.parametrize("law", [LAWS["gaussian over the vocabulary"], LAWS["gaussian from its seed"]])
def test_gaussian_gradients_hold_the_draw(shared_engine, model, law):
    """With the fed embeddings held: through p and E of the mean, never through the draw.

    The log-densities are written out once more, in float64, on inputs_embeds and with plain sums.
    """
    samples, traces = roll_out(model, law, PROMPTS, length=9)
    batch = batch_of(law, samples, traces, packed=False)
    _, gradients = train(shared_engine(False), batch, weighted_log_probs)
    double = AutoModelForCausalLM.from_pretrained(
        model.config._name_or_path, dtype=torch.float64, attn_implementation="eager"
    )
    table = double.get_input_embeddings().weight
    float_table = model.get_input_embeddings().weight.detach()
    total = 0.0
    for row, (sample, (trace, seed)) in enumerate(zip(samples, traces, strict=True)):
        fed = trace.fed
        if fed is None:
            weights = trace.values.masked_fill(trace.ids < 0, -torch.inf).softmax(-1).nan_to_num()
            mean = torch.einsum("tk,tkh->th", weights, float_table[trace.ids.long().clamp(min=0)])
            noise = coordinate_noise(torch.full((len(trace),), seed), torch.arange(len(trace)), HIDDEN)
            fed = mean + trace.scale[:, None] * noise
        tokens = table[torch.tensor(sample.response)]
        inputs = torch.cat((table[torch.tensor(sample.prompt)], torch.where(trace.soft[:, None], fed.double(), tokens)))
        logits = double(inputs_embeds=inputs[None]).logits[0, len(sample.prompt) - 1 : -1]
        advantages = batch["advantages"].unbind()[row].double()
        for position in range(len(trace)):
            scaled = logits[position] / TEMPERATURE
            if trace.soft[position]:
                ids = trace.ids[position][trace.ids[position] >= 0].long()
                over = ids if law.get("normalise_over") == "candidates" else torch.arange(len(scaled))
                mean = scaled[over].softmax(-1) @ table[over]
                log_prob = -((fed[position] - mean) ** 2).sum() / (2 * trace.scale[position].double() ** 2)
            elif trace.drawn[position]:
                log_prob = torch.zeros(())
            else:
                log_prob = (logits[position] / 0.8).log_softmax(-1)[sample.response[position]]
            total = total + advantages[position] * log_prob
    total.backward()
    for name, parameter in double.named_parameters():
        size = float(parameter.grad.abs().max())
        difference = float((gradients[name].double() - parameter.grad).abs().max())
        assert difference < 1e-4 * max(1.0, size), name


def test_gradients_of_noisy_weights_reach_the_table_through_the_inputs(shared_engine, model):
    """With the weights held: through p, and through the embeddings that the weights mix, as of any mixture.

    Written out once more in float64, the weights from the formula and the noise of their counters.
    """
    law = LAWS["gaussian among the candidates"]
    samples, traces = roll_out(model, law, PROMPTS, length=9)
    batch = batch_of(law, samples, traces, packed=False)
    _, gradients = train(shared_engine(False), batch, weighted_log_probs)
    double = AutoModelForCausalLM.from_pretrained(
        model.config._name_or_path, dtype=torch.float64, attn_implementation="eager"
    )
    table, total, mixed = double.get_input_embeddings().weight, 0.0, 0
    for row, (sample, (trace, seed)) in enumerate(zip(samples, traces, strict=True)):
        inputs, scored = list(table[torch.tensor(sample.prompt + sample.response)]), {}
        for position in trace.soft.nonzero()[:, 0].tolist():
            ids = trace.ids[position][trace.ids[position] >= 0].long()
            p = trace.values[position, : len(ids)].double().softmax(-1)
            noise = normal(torch.tensor([seed]), torch.tensor([position]), ids[None])[0].double()
            drawn = p + law["gamma"] * (p.sqrt() * noise - p * (p.sqrt() * noise).sum())
            inputs[len(sample.prompt) + position] = drawn @ table[ids]
            scored[position] = ids, p, drawn
            mixed += len(ids) > 1
        logits = double(inputs_embeds=torch.stack(inputs)[None]).logits[0, len(sample.prompt) - 1 : -1]
        advantages = batch["advantages"].unbind()[row].double()
        for position in range(len(trace)):
            if position in scored:
                ids, p, drawn = scored[position]
                difference = drawn - (logits[position][ids] / TEMPERATURE).softmax(-1)
                log_prob = -(difference**2 / p).sum() / (2 * law["gamma"] ** 2)
            elif trace.drawn[position]:
                log_prob = torch.zeros(())
            else:
                log_prob = (logits[position] / 0.8).log_softmax(-1)[sample.response[position]]
            total = total + advantages[position] * log_prob
    assert mixed > 10
    total.backward()
    for name, parameter in double.named_parameters():
        size = float(parameter.grad.abs().max())
        difference = float((gradients[name].double() - parameter.grad).abs().max())
        assert difference < 1e-4 * max(1.0, size), name


def test_the_stored_embedding_is_scored_after_the_table_has_moved(shared_engine, model):
    """Several updates of one batch: the draw stays what was fed, while one rebuilt from its seed follows the table."""
    moved = {}
    engine = shared_engine(False)
    table = engine.module.get_input_embeddings().weight
    for fed in ("embedding", "seed"):
        law = {"name": "gaussian", "normalise_over": "candidates", "fed": fed}
        samples, traces = roll_out(model, law, PROMPTS[:2], length=9)
        batch = batch_of(law, samples, traces, packed=False)
        before = table.detach().clone()
        with torch.no_grad():
            table.mul_(1.01)
        moved[fed] = infer(engine, batch)[0][0]
        with torch.no_grad():
            table.copy_(before)
    # At the first position both share logits and mean; the rebuilt draw alone has moved along with the mean.
    assert abs(float(moved["embedding"] - moved["seed"])) > 1e-3


@pytest.mark.parametrize(("fed", "field"), [("embedding", FED), ("seed", SEED)])
def test_a_batch_without_the_draw_is_refused(shared_engine, model, fed, field):
    law = {"name": "gaussian", "normalise_over": "candidates", "fed": fed}
    samples, traces = roll_out(model, law, PROMPTS[:2], length=6)
    batch = batch_of(law, samples, traces, packed=False).exclude(field)
    with pytest.raises(ValueError, match=f"lacks {field}"):
        infer(shared_engine(False), batch)


def test_embeddings_of_another_width_are_refused(shared_engine, model):
    samples, traces = roll_out(model, LAWS["gaussian over the vocabulary"], PROMPTS[:2], length=6)
    batch = batch_of(LAWS["gaussian over the vocabulary"], samples, traces, packed=False)
    batch[FED] = jagged([trace.fed[:, :-1] for trace, _ in traces])
    with pytest.raises(ValueError, match=f"embeddings of {HIDDEN - 1} numbers"):
        infer(shared_engine(False), batch)
