"""``verl-softthink bench gradient`` on the pocket reasoner: real rollouts, and gradients written out once more."""

from dataclasses import replace

import pytest
import torch
from transformers import AutoModelForCausalLM
from typer.testing import CliRunner

from verl_softthink.cli import app
from verl_softthink.config.settings import PhaseSettings
from verl_softthink.evaluation.engine import EngineSettings
from verl_softthink.evaluation.gradient.batches import engine_batch, sampled_positions
from verl_softthink.evaluation.gradient.losses import LOSSES, advantages, on_policy
from verl_softthink.evaluation.gradient.policy import ALL, Policy
from verl_softthink.evaluation.gradient.report import table
from verl_softthink.evaluation.gradient.run import GradientBench, roll_out, signals
from verl_softthink.evaluation.modes import read_modes
from verl_softthink.evaluation.problems import read_problems
from verl_softthink.likelihood.parameter_groups import HEAD, LAYERS, TABLE
from verl_softthink.pocket import checkpoint_path
from verl_softthink.pocket.data import write_parquet
from verl_softthink.pocket.evaluate import MAX_RESPONSE_LENGTH
from verl_softthink.pocket.tasks import generate
from verl_softthink.standalone import choose_platform

BATCHES, PROMPTS, RESPONSES, TEMPERATURE = 3, 2, 2, 0.7
MODES = "gumbel,gaussian,discrete"
# Discrete thoughts are sampled hot: equal responses with a right and a wrong reward would have no gradient.
OVERRIDES = (
    *("gaussian.law.gamma=1", "gaussian.filter.temperature=0.5", "gumbel.law.tau=0.5", "gumbel.filter.top_p=1"),
    "discrete.filter.temperature=3",
)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "train.parquet"
    write_parquet(generate("train", BATCHES * PROMPTS + 1, 0), path)
    return path


@pytest.fixture(scope="module")
def bench(data):
    choose_platform()
    modes = read_modes(MODES, OVERRIDES)
    return GradientBench(
        checkpoint=checkpoint_path(),
        problems=read_problems(data, lambda question: [{"role": "user", "content": question}]),
        modes=modes,
        phase=PhaseSettings(budget=56),
        batches=BATCHES,
        prompts=PROMPTS,
        responses=RESPONSES,
        loss="reinforce",
        reward="auto",
        micro_batch=3,
        seed=0,
        engine=EngineSettings.of_modes(
            modes,
            max_prompt_length=32,
            max_tokens=MAX_RESPONSE_LENGTH,
            max_num_seqs=64,
            answer_temperature=TEMPERATURE,
        ),
    )


@pytest.fixture(scope="module")
def rollouts(bench):
    return roll_out(bench)


def log_prob(mode, trace, position: int, logits: torch.Tensor, embeddings: torch.Tensor, token: int) -> torch.Tensor:
    """Of what was drawn at a position, from the formulas: Eq. 12 of SofT-GRPO, the normal density, a probability."""
    if not trace.drawn[position]:
        return (logits / TEMPERATURE).log_softmax(-1)[token]
    scaled = logits / mode.filter.temperature
    ids = trace.ids[position][trace.ids[position] >= 0].long()
    if mode.name == "discrete":
        return scaled.log_softmax(-1)[token]
    if mode.name == "gaussian":
        if not trace.soft[position]:
            return torch.zeros((), dtype=torch.float64)
        difference = trace.fed[position].double() - scaled.softmax(-1) @ embeddings
        return -(difference**2).sum() / (2 * trace.scale[position].double() ** 2)
    log_probs = scaled[ids].log_softmax(-1)
    if not trace.soft[position]:
        return log_probs[ids.tolist().index(token)]
    z = trace.values[position][: len(ids)].double() - log_probs
    return (-z - (-z).exp()).sum()


def fed(mode, trace, position: int, embeddings: torch.Tensor, token: int) -> torch.Tensor:
    """The input embedding of a position."""
    if not trace.soft[position] or mode.name == "discrete":
        return embeddings[token]
    if mode.name == "gaussian":
        return trace.fed[position].double()
    ids = trace.ids[position][trace.ids[position] >= 0].long()
    scores = trace.values[position][: len(ids)].double()
    return (scores / mode.law.parameters["tau"]).softmax(-1) @ embeddings[ids]


def expected_gradients(mode, batch, answer_temperature: float) -> dict[str, torch.Tensor]:
    """-(1 / N) sum_n A_n sum_t log pi(a_t), differentiated in float64, response by response."""
    model = AutoModelForCausalLM.from_pretrained(checkpoint_path(), dtype=torch.float64, attn_implementation="eager")
    embeddings = model.get_input_embeddings().weight
    total = torch.zeros((), dtype=torch.float64)
    for number, each in enumerate(batch):
        group = [other.reward for other in batch[number - number % RESPONSES :][:RESPONSES]]
        others = (sum(group) - each.reward) / (RESPONSES - 1)
        trace, tokens = each.rollout.trace, each.rollout.tokens
        inputs = torch.stack([fed(mode, trace, place, embeddings, token) for place, token in enumerate(tokens)])
        inputs = torch.cat((embeddings[torch.tensor(each.prompt)], inputs))[None]
        logits = model(inputs_embeds=inputs).logits[0, len(each.prompt) - 1 :]
        for place, token in enumerate(tokens):
            if trace.drawn[place] or (answer_temperature > 0 and not trace.forced[place]):
                scored = log_prob(mode, trace, place, logits[place], embeddings, token)
                total = total - (each.reward - others) * scored / len(batch)
    total.backward()
    layers = [
        p.grad.flatten() for name, p in model.named_parameters() if "embed_tokens" not in name and p.shape[0] != 103
    ]
    return {TABLE: embeddings.grad.flatten(), LAYERS: torch.cat(layers), HEAD: model.lm_head.weight.grad.flatten()}


@pytest.mark.vllm
@pytest.mark.parametrize("answer_temperature", [TEMPERATURE, 0.0])
def test_a_batchs_gradient_is_that_of_the_formulas(bench, rollouts, answer_temperature):
    policy = Policy(bench.checkpoint)
    for mode in bench.modes:
        drawn = rollouts[mode.name][: PROMPTS * RESPONSES]
        # A right and a wrong answer to each prompt, whatever was answered.
        batch = [replace(each, reward=float(number % 2)) for number, each in enumerate(drawn)]
        loss = LOSSES["reinforce"]
        fed_batch = engine_batch(
            batch,
            advantages(loss, [each.reward for each in batch], RESPONSES),
            mode,
            answer_temperature=answer_temperature,
            micro_batch=3,
        )
        # verl divides ordinary tokens' logits by the temperature that they were drawn at.
        assert fed_batch["temperature"] == (answer_temperature or 1.0)
        gradients = policy.gradients(fed_batch, on_policy(loss))
        expected = expected_gradients(mode, batch, answer_temperature)
        assert list(gradients) == list(expected)
        for group, gradient in gradients.items():
            size = float(expected[group].norm())
            assert size > 0 and float((gradient.double() - expected[group]).norm()) < 1e-4 * size, (mode.name, group)


@pytest.mark.vllm
def test_every_mode_is_measured_on_its_own_rollouts(bench, rollouts):
    result = signals(bench, rollouts)
    assert result["bench"] == "gradient" and list(result["modes"]) == MODES.split(",")
    for mode, measured in result["modes"].items():
        assert len(rollouts[mode]) == BATCHES * PROMPTS * RESPONSES
        assert measured["accuracy"] == sum(each.reward for each in rollouts[mode]) / len(rollouts[mode])
        assert 0 <= measured["mixed_groups"] <= 1 and 1 < measured["drawn_positions"] < MAX_RESPONSE_LENGTH
        groups = measured["groups"]
        assert list(groups) == [TABLE, LAYERS, HEAD, ALL]
        parts = [groups[name] for name in (TABLE, LAYERS, HEAD)]
        assert groups[ALL]["norm"] ** 2 == pytest.approx(sum(part["norm"] ** 2 for part in parts))
        assert groups[ALL]["variance"] == pytest.approx(sum(part["variance"] for part in parts))
    assert len(table(result).rows) == 4 * len(bench.modes)
    # The draws of a problem differ, and its prompt is that of its own responses alone.
    prompts = [tuple(each.prompt) for each in rollouts["gumbel"]]
    assert len(set(prompts)) == BATCHES * PROMPTS and prompts[0] == prompts[1]
    assert len({each.seed for each in rollouts["gumbel"]}) == len(prompts)


@pytest.mark.vllm
def test_forced_and_greedy_tokens_are_not_scored(rollouts):
    for responses in rollouts.values():
        for each in responses:
            trace = each.rollout.trace
            assert torch.equal(sampled_positions(trace, 0.0), trace.drawn)
            assert torch.equal(sampled_positions(trace, 1.0), ~trace.forced)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"modes": read_modes("deterministic")}, "--modes deterministic: its draws are certain"),
        ({"modes": read_modes("soft_greedy")}, "--modes soft_greedy: its draws are certain"),
        ({"prompts": 3}, "7 problems: --batches 3 of --prompts 3 share none, so 9 are needed"),
        ({"batches": 2}, "--batches 2, --responses 2: a variance needs 3 batches"),
        ({"responses": 1}, "an advantage within the group 2 responses or more"),
    ],
)
def test_what_cannot_be_measured_is_refused_before_the_engine_starts(bench, changes, message):
    with pytest.raises(ValueError, match=message):
        replace(bench, **changes)


def test_a_refusal_is_a_sentence_on_the_command_line(data):
    run = CliRunner().invoke(app, ["bench", "gradient", "--data", str(data), "--loss", "ppo"])
    assert run.exit_code == 2 and "reinforce" in run.output
