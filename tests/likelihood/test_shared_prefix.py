"""Rows that begin alike, computed once: the same losses and gradients as a row at a time."""

from dataclasses import replace

import pytest
import torch
from verl.utils import tensordict_utils as tu

from verl_softthink.likelihood.fields import SETTINGS
from verl_softthink.likelihood.prefix_tree import PrefixTree
from verl_softthink.likelihood.shared_prefix import SHARED_PREFIX
from verl_softthink.methods.repro.fields import REQUEST

from .models import VOCABULARY
from .runs import HFModelConfig, actor_config, build, infer, policy_loss, train
from .samples import (
    COLLAPSED,
    FORCED,
    SOFT_POSITION,
    TOKEN,
    Sample,
    jagged,
    make_batch,
    random_sample,
    random_samples,
    settings,
)

pytestmark = pytest.mark.filterwarnings("error:.*returned a view tensor")


def tokens(count, seed):
    return torch.randint(VOCABULARY, (count,), generator=torch.Generator().manual_seed(seed))


def tree_rows():
    """Prompt and response of the leaves of two prompts: cuts at 4 and 8, one shared cut, an exact twin, a loner."""
    first, second = tokens(5, 1), tokens(3, 2)
    trunk = tokens(12, 3)
    leaves = [trunk]
    leaves += [torch.cat([trunk[:cut], tokens(length, 10 + i)]) for i, (cut, length) in enumerate(((4, 6), (4, 9)))]
    leaves += [torch.cat([trunk[:8], tokens(3, 20)]), torch.cat([trunk[:8], tokens(1, 21)]), trunk.clone()]
    other = tokens(7, 4)
    return [(first, leaf) for leaf in leaves] + [(second, other), (second, torch.cat([other[:5], tokens(4, 5)]))]


def batch(mode, *, packed, entropy=True, micro_batch=8, **extra):
    rows = tree_rows()
    sequences = [torch.cat(row) for row in rows]
    generator = torch.Generator().manual_seed(7)

    def noise(scale, offset=0.0):
        return jagged([offset + scale * torch.randn(len(response), generator=generator) for _, response in rows])

    masks = [torch.ones(len(response), dtype=torch.int64) for _, response in rows]
    masks[1][2] = 0  # a token that takes no part in the loss
    tensors = {
        "input_ids": jagged(sequences),
        "position_ids": jagged([torch.arange(len(sequence)) for sequence in sequences]),
        "prompts": jagged([prompt for prompt, _ in rows]),
        "responses": jagged([response for _, response in rows]),
        "response_mask": jagged(masks),
        "loss_mask": jagged(masks),
        "advantages": noise(1.0),
        "old_log_probs": noise(0.5, -4.0),
        "ref_log_prob": noise(0.5, -4.0),
    }
    plain = {
        "temperature": 0.8,
        "use_remove_padding": packed,
        "use_dynamic_bsz": False,
        "micro_batch_size_per_gpu": micro_batch,
        "global_batch_size": len(rows),
        "calculate_entropy": entropy,
        SHARED_PREFIX: mode,
    }
    return tu.get_tensordict(tensors, plain | extra)


def soft_leaves(values):
    """Leaves of two prompts cut in a thought, at its last draw and behind it; a twin of other mixtures; a loner."""
    law, generator = values["law"], torch.Generator().manual_seed(3)
    whole = [SOFT_POSITION] * 6 + [COLLAPSED] + [FORCED] * 2 + [TOKEN] * 4

    def sampled(kinds):
        return random_sample(generator, 4, kinds, law, values=values)

    def branch(trunk, cut, kinds):
        own = sampled(kinds)
        joined = {name: getattr(trunk, name)[:cut] + getattr(own, name) for name in ("response", "kinds")}
        tensors = {name: torch.cat([getattr(trunk, name)[:cut], getattr(own, name)]) for name in ("ids", "values")}
        return Sample(prompt=trunk.prompt, **joined, **tensors)

    trunk, other = sampled(whole), sampled([SOFT_POSITION] * 5 + [TOKEN] * 2)
    leaves = [trunk, branch(trunk, 3, [SOFT_POSITION] * 2 + [COLLAPSED] + [TOKEN] * 2), branch(trunk, 3, whole[4:])]
    leaves += [branch(trunk, 6, [COLLAPSED, TOKEN, TOKEN]), branch(trunk, 9, [TOKEN] * 5), branch(trunk, 9, [TOKEN])]
    leaves += [other, branch(other, 2, [SOFT_POSITION] * 3)]
    if law == "discrete":
        return leaves
    twin = replace(trunk, values=trunk.values.clone())
    # The same tokens and candidates, other weights at the third position.
    twin.values[2] = twin.values[2].where(twin.ids[2] < 0, twin.values[2] / 2 - 1)
    assert (twin.ids[2] >= 0).sum() > 1
    return [*leaves, twin]


@pytest.mark.parametrize(
    ("law", "packed", "micro_batch"), [("gumbel", True, 9), ("concrete", False, 9), ("discrete", True, 4)]
)
def test_dedup_of_soft_traces_gives_the_losses_and_gradients_of_repeat(shared_engine, law, packed, micro_batch):
    values = settings(law)
    samples = soft_leaves(values)
    model, config = shared_engine(packed), actor_config(kl_loss_coef=0.1, entropy_coeff=0.01)
    found = {}
    for mode in ("repeat", "dedup"):
        batch = make_batch(samples, values, packed=packed, micro_batch=micro_batch, **{SHARED_PREFIX: mode})
        generator = torch.Generator().manual_seed(5)
        scored = infer(model, batch)
        for name in ("old_log_probs", "ref_log_prob"):
            noise = [torch.randn(len(s.response), generator=generator) / 4 for s in samples]
            batch[name] = jagged([score + one for score, one in zip(infer(model, batch), noise, strict=True)])
        tu.assign_non_tensor_data(batch, "calculate_entropy", True)
        found[mode] = scored, *train(model, batch, policy_loss(config))
    (scored, loss, gradients), (expected_scores, expected_loss, expected) = found["dedup"], found["repeat"]
    for ours, theirs in zip(scored, expected_scores, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)
    assert loss == pytest.approx(expected_loss, abs=1e-5)
    assert max(gradient.abs().max() for gradient in expected.values()) > 1e-2
    for name, gradient in gradients.items():
        torch.testing.assert_close(gradient, expected[name], rtol=1e-3, atol=1e-5)


def test_rows_share_as_far_as_they_were_fed_the_same(shared_engine):
    values = settings("gumbel")
    samples = soft_leaves(values)
    seen, model = [], shared_engine(True)
    hook = model.module.register_forward_pre_hook(
        lambda module, args, kwargs: seen.append(kwargs["input_ids"].numel()), with_kwargs=True
    )
    infer(model, make_batch(samples, values, packed=True, micro_batch=9, **{SHARED_PREFIX: "dedup"}))
    hook.remove()
    fed = [
        [(token,) for token in s.prompt]
        + [(t, k, *i.tolist(), *v.tolist()) for t, k, i, v in zip(s.response, s.kinds, s.ids, s.values, strict=True)]
        for s in samples
    ]
    # What no law drew is its token, whoever forced it.
    fed = [[step if len(step) > 1 and step[1] in (SOFT_POSITION, COLLAPSED) else step[:1] for step in s] for s in fed]
    distinct = {tuple(sequence[: end + 1]) for sequence in fed for end in range(len(sequence))}
    tokens = {tuple(s.prompt + s.response)[: end + 1] for s in samples for end in range(len(s.prompt + s.response))}
    assert seen == [len(distinct)] and len(tokens) < len(distinct) < 0.7 * sum(map(len, fed))


@pytest.fixture
def build_with(monkeypatch):
    """``runs.build`` with another attention implementation."""

    def make(path, implementation, **options):
        from . import runs

        def config(**fields):
            return HFModelConfig(**fields | {"override_config": {"attn_implementation": implementation}})

        config.__dataclass_fields__ = HFModelConfig.__dataclass_fields__
        monkeypatch.setattr(runs, "HFModelConfig", config)
        return build(path, **options)

    return make


@pytest.mark.parametrize(
    ("architecture", "strategy", "packed", "aggregation", "micro_batch"),
    [
        ("qwen3", "fsdp2", True, "token-mean", 8),
        ("qwen3", "fsdp2", False, "seq-mean-token-mean", 8),
        ("llama", "fsdp", True, "seq-mean-token-sum", 4),
        ("gemma", "fsdp2", False, "token-mean", 4),
    ],
)
def test_dedup_gives_the_losses_and_gradients_of_repeat(
    model_path, architecture, strategy, packed, aggregation, micro_batch
):
    model = build(model_path(architecture), strategy=strategy, packed=packed)
    config = actor_config(strategy, kl_loss_coef=0.1, entropy_coeff=0.01, loss_agg_mode=aggregation)
    repeat, repeat_gradients = train(
        model, batch("repeat", packed=packed, micro_batch=micro_batch), policy_loss(config)
    )
    dedup, gradients = train(model, batch("dedup", packed=packed, micro_batch=micro_batch), policy_loss(config))
    assert dedup == pytest.approx(repeat, abs=1e-5)
    assert max(gradient.abs().max() for gradient in repeat_gradients.values()) > 1e-2
    for name, gradient in gradients.items():
        torch.testing.assert_close(gradient, repeat_gradients[name], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("implementation", ["eager", "flex_attention"])
def test_other_attention_implementations(model_path, build_with, implementation):
    model = build_with(model_path("llama"), implementation, packed=True)
    with torch.no_grad(), model.eval_mode():
        repeat = model.infer_batch(batch("repeat", packed=True))["model_output"]
        dedup = model.infer_batch(batch("dedup", packed=True))["model_output"]
    lengths = [len(response) for _, response in tree_rows()]
    for name in ("log_probs", "entropy"):
        for ours, theirs, length in zip(dedup[name].unbind(), repeat[name].unbind(), lengths, strict=True):
            torch.testing.assert_close(ours[-length - 1 : -1], theirs[-length - 1 : -1], rtol=1e-4, atol=1e-5)


def test_the_model_sees_every_distinct_token_once(model_path):
    model = build(model_path("llama"), packed=True)
    seen = []
    model.module.register_forward_pre_hook(
        lambda module, args, kwargs: seen.append(kwargs["input_ids"].numel()), with_kwargs=True
    )
    with torch.no_grad(), model.eval_mode():
        model.infer_batch(batch("dedup", packed=True))
        model.infer_batch(batch("repeat", packed=True))
    sequences = [tuple(torch.cat(row).tolist()) for row in tree_rows()]
    distinct = {sequence[: end + 1] for sequence in sequences for end in range(len(sequence))}
    assert seen == [len(distinct), sum(map(len, sequences))]
    assert len(PrefixTree.of([torch.cat(row) for row in tree_rows()])) == len(distinct) < 0.6 * seen[1]


def test_refusals(model_path, build_with):
    model = build(model_path("llama"), packed=True)

    def run(model, data):
        with torch.no_grad(), model.eval_mode():
            model.infer_batch(data)

    with pytest.raises(ValueError, match=r"softthink_shared_prefix'\]='once' is unknown; use one of repeat, dedup"):
        run(model, batch("once", packed=True))
    for law, change, message in (
        ("gaussian", {"normalise_over": "candidates"}, "law.name='gaussian': drawn embeddings are not shared"),
        ("gumbel", {"positions_at_once": 64}, "positions_at_once=64: branches are scored"),
    ):
        values = settings("gumbel")
        traced = make_batch(random_samples("gumbel", values), values, packed=True, **{SHARED_PREFIX: "dedup"})
        tu.assign_non_tensor_data(traced, SETTINGS, settings(law) | change)
        with pytest.raises(ValueError, match=message):
            run(model, traced)
    asked = batch("dedup", packed=True, **{REQUEST: {}})
    with pytest.raises(ValueError, match="'dedup' with softthink_repro, which reads whole rows"):
        model.prepare_model_inputs(asked)
    mixed = batch("dedup", packed=True, temperature=torch.tensor([0.8] * 7 + [1.0]))
    with pytest.raises(ValueError, match="rows that share logits share their temperature"):
        run(model, mixed)
    with pytest.raises(ValueError, match="gemma3_text has layers of sliding_attention"):
        run(build(model_path("gemma3_text"), packed=True), batch("dedup", packed=True))
    model.module.config._attn_implementation = "flash_attention_2"
    with pytest.raises(ValueError, match="'flash_attention_2', which takes no tree mask"):
        run(model, batch("dedup", packed=True))
