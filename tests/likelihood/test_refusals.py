"""What is refused, and that every message names the key, the value and the fix."""

import re

import pytest
import torch
from transformers import AutoConfig
from verl.utils import tensordict_utils as tu

from verl_softthink.likelihood.checks import check_engine, check_model
from verl_softthink.likelihood.fields import DRAWN, IDS, SETTINGS, SOFT, TRACE_FIELDS, VALUES, ScoringSettings

from .runs import build, infer
from .samples import jagged, make_batch, random_samples, settings

FINE = {"strategy": "fsdp2", "use_fused_kernels": False, "ulysses_sequence_parallel_size": 1}


def test_supported_engines_pass():
    check_engine(**FINE)
    check_engine(**FINE | {"ulysses_sequence_parallel_size": 2})
    check_engine(**FINE | {"strategy": "fsdp"}, mtp=False, distillation=False, role="ref")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"strategy": "megatron"}, "actor_rollout_ref.actor.strategy='megatron'.*set it to 'fsdp2' or 'fsdp'"),
        ({"strategy": "veomni", "role": "ref"}, "actor_rollout_ref.ref.strategy='veomni'.*set it to"),
        ({"use_fused_kernels": True}, "actor_rollout_ref.model.use_fused_kernels=True.*set it to False"),
        (
            {"ulysses_sequence_parallel_size": 2, "whole_sequences": ["softthink.repro", "softthink.attnrl"]},
            "actor_rollout_ref.actor.fsdp_config.ulysses_sequence_parallel_size=2 slices sequences, and "
            "softthink.repro, softthink.attnrl needs whole ones; set it to 1",
        ),
        (
            {"ulysses_sequence_parallel_size": 2, "use_remove_padding": False, "role": "ref"},
            "actor_rollout_ref.ref.fsdp_config.ulysses_sequence_parallel_size=2.*use_remove_padding=True",
        ),
        ({"ulysses_sequence_parallel_size": 2, "attention": "sdpa"}, "'sdpa' would see one rank's slice; set"),
        ({"mtp": True}, "actor_rollout_ref.model.mtp.enable=True.*set it to False"),
        ({"distillation": True}, "distillation.enabled=True.*set it to False"),
    ],
)
def test_unsupported_engines_are_refused_by_name(change, message):
    with pytest.raises(ValueError, match=message):
        check_engine(**FINE | change)


def test_all_problems_are_reported_at_once():
    with pytest.raises(ValueError) as error:
        check_engine(strategy="megatron", use_fused_kernels=True, ulysses_sequence_parallel_size=4, attention="sdpa")
    assert len(str(error.value).splitlines()) == 3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"use_fused_kernels": True}, "actor_rollout_ref.model.use_fused_kernels=True"),
        ({"ulysses_sequence_parallel_size": 2}, "actor.fsdp_config.ulysses_sequence_parallel_size=2.*use_remove"),
        (
            {"ulysses_sequence_parallel_size": 2, "forward_only": True},
            "ref.fsdp_config.ulysses_sequence_parallel_size=2.*use_remove",
        ),
        (
            {"lora_rank": 2, "target_modules": ["embed_tokens", "q_proj"]},
            "actor_rollout_ref.model.target_modules=.*embed_tokens.*leave it out",
        ),
    ],
)
def test_the_engine_itself_refuses(model_path, options, message):
    with pytest.raises(ValueError, match=message):
        build(model_path("llama"), **options)


@pytest.mark.parametrize("architecture", ["gemma3n", "qwen2_vl"])
def test_models_that_read_more_than_one_embedding_are_refused(architecture):
    expected = {"gemma3n": "hidden_size_per_layer_input=256", "qwen2_vl": "mrope_section"}[architecture]
    options = {"qwen2_vl": {"text_config": {"rope_parameters": {"rope_type": "default", "mrope_section": [2, 3, 3]}}}}
    with pytest.raises(ValueError, match=f"{architecture}.*{expected}.*use a"):
        check_model(AutoConfig.for_model(architecture, **options.get(architecture, {})))


@pytest.mark.parametrize("architecture", ["llama", "qwen3", "gemma3_text", "granite", "qwen3_moe"])
def test_text_models_pass(architecture):
    check_model(AutoConfig.for_model(architecture))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"law": "deterministic"},
            "softthink.law.name='deterministic' has no likelihood.*train with gumbel or concrete",
        ),
        ({"law": "gumble"}, "softthink.law.name='gumble' is unknown; use one of"),
        ({"parameters": {"tau": 0.0, "noise_scale": 1.0}}, "tau=0.0: it must be a number at least 1.19209e-07"),
        (
            {"parameters": {"tau": 0.6, "noise_scale": float("inf")}},
            "noise_scale=inf: it must be a number from 0.25 to 4",
        ),
        ({"parameters": {"tau": 0.6}}, r"\['parameters'\] has tau; the law 'gumbel' needs tau, noise_scale"),
        ({"law": "discrete"}, "has tau, noise_scale; the law 'discrete' needs none"),
        ({"temperature": -1.0}, "temperature=-1.0 must be a finite number above 0"),
        (
            {"normalise_over": "tokens"},
            "normalise_over='tokens' does not fit the law 'gumbel'; use 'candidates'",
        ),
        (
            {"law": "discrete", "parameters": {}},
            "normalise_over='candidates' does not fit the law 'discrete'; use 'vocabulary'",
        ),
        ({"tua": 1.0}, r"\['tua'\] is unknown; the keys are law, parameters"),
    ],
)
def test_settings_are_checked(change, message):
    with pytest.raises(ValueError, match=message):
        ScoringSettings.parse(settings("gumbel") | change)


@pytest.mark.parametrize("key", settings("gumbel"))
def test_every_setting_is_required(key):
    values = settings("gumbel")
    del values[key]
    with pytest.raises(ValueError, match=f"lacks '{key}'; it needs law, parameters"):
        ScoringSettings.parse(values)


@pytest.fixture
def batch():
    """A good batch to spoil."""
    values = settings("gumbel")
    return make_batch(random_samples("gumbel", values), values, packed=False, micro_batch=4)


@pytest.fixture
def refuse(shared_engine, batch):
    """Check that the engine refuses the spoiled batch, and that it still works afterwards."""

    def check(spoiled, message: str, error: type[Exception] = ValueError):
        engine = shared_engine(False)
        expected = infer(engine, batch)
        with pytest.raises(error, match=message):
            infer(engine, spoiled)
        assert all(torch.equal(a, b) for a, b in zip(infer(engine, batch), expected, strict=True))

    return check


def changed(batch, name, edit):
    """The batch with one jagged field's rows edited."""
    rows = [row.clone() for row in batch[name].unbind()]
    edit(rows)
    copy = batch.copy()
    copy[name] = jagged(rows)
    return copy


@pytest.mark.parametrize("name", TRACE_FIELDS)
def test_a_missing_trace_field(refuse, batch, name):
    refuse(batch.exclude(name), rf"\['softthink'\] is set, but the batch lacks {name}: roll out with")


def test_missing_settings(refuse, batch):
    refuse(batch.exclude(SETTINGS), rf"the batch has {', '.join(TRACE_FIELDS)} but no settings.*set batch.extra_info")


@pytest.mark.parametrize("switch", ["use_fused_kernels", "distillation_use_topk", "distillation_only"])
def test_switches_of_the_batch(refuse, batch, switch):
    spoiled = tu.assign_non_tensor(batch.copy(), **{switch: True})
    refuse(spoiled, rf"batch.extra_info\['{switch}'\]=True is not supported with soft traces; set it to False")


def test_three_dimensional_positions(refuse, batch):
    spoiled = batch.copy()
    spoiled["position_ids"] = torch.nested.as_nested_tensor(
        [row.expand(4, -1).clone() for row in batch["position_ids"].unbind()], layout=torch.jagged
    )
    refuse(spoiled, "position_ids has 3 dimensions")


def test_a_dense_trace(refuse, batch):
    spoiled = batch.copy()
    spoiled[SOFT] = torch.zeros(4, 12, dtype=torch.bool)
    refuse(spoiled, rf"{SOFT} is a torch.strided tensor of shape \[4, 12\]; give it one row per sample as a jagged")


@pytest.mark.parametrize("cut", [-1, 1])
def test_a_trace_of_another_length(refuse, batch, cut):
    spoiled = batch
    for name in TRACE_FIELDS:

        def edit(rows):
            rows[2] = rows[2][:-1] if cut < 0 else torch.cat((rows[2], rows[2][:1]))

        spoiled = changed(spoiled, name, edit)
    refuse(spoiled, rf"{SOFT} has {9 + cut} positions for row 2, whose response has 9; hand the trace over")


def test_fields_of_different_lengths_on_a_padding_row(refuse, batch):
    def zero(rows):
        rows[2].zero_()

    def shorten(rows):
        rows[2] = rows[2][:4]

    spoiled = changed(changed(batch, "response_mask", zero), VALUES, shorten)
    refuse(spoiled, f"{VALUES} and {DRAWN} differ in the length of some row")


def test_a_soft_position_that_was_not_drawn(refuse, batch):
    def edit(rows):
        rows[0][1] = False

    refuse(changed(batch, DRAWN, edit), f"row 0 has soft positions that were not drawn: set {DRAWN}")


def test_a_trace_of_another_response(refuse, batch):
    token = batch["responses"].unbind()[2][3].item()

    def edit(rows):
        rows[2][3] = (rows[2][3] != token) * rows[2][3] - (rows[2][3] == token).int()

    message = re.escape(f"row 2 shows token {token} at response position 3, which is none of the trace's candidates")
    refuse(changed(batch, IDS, edit), message)


def test_a_candidate_of_another_model(refuse, batch):
    def edit(rows):
        rows[2][3, -1] = 61

    refuse(changed(batch, IDS, edit), "token id 61, but the embedding table has 61 rows", IndexError)


def test_an_empty_prompt(refuse):
    values = settings("gumbel")
    samples = random_samples("gumbel", values)
    samples[2].prompt = []
    refuse(make_batch(samples, values, packed=False, micro_batch=4), "row 2 has an empty prompt")
