"""Rows that begin alike, computed once: the same losses and gradients as a row at a time."""

import pytest
import torch
from verl.utils import tensordict_utils as tu

from verl_softthink.likelihood.prefix_tree import PrefixTree
from verl_softthink.likelihood.shared_prefix import SHARED_PREFIX, check_shared_prefix
from verl_softthink.process_reward.fields import REQUEST

from .models import VOCABULARY
from .runs import HFModelConfig, actor_config, build, policy_loss, train
from .samples import jagged, make_batch, random_samples, settings

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
    values = settings("gumbel")
    traced = make_batch(random_samples("gumbel", values), values, packed=True, **{SHARED_PREFIX: "dedup"})
    with pytest.raises(ValueError, match="'dedup' with soft traces"):
        run(model, traced)
    asked = batch("dedup", packed=True, **{REQUEST: {}})
    with pytest.raises(ValueError, match="softthink_repro'.*: answers are scored on whole rows"):
        check_shared_prefix(model.module.config, asked)
    mixed = batch("dedup", packed=True, temperature=torch.tensor([0.8] * 7 + [1.0]))
    with pytest.raises(ValueError, match="rows that share logits share their temperature"):
        run(model, mixed)
    with pytest.raises(ValueError, match="gemma3_text has layers of sliding_attention"):
        run(build(model_path("gemma3_text"), packed=True), batch("dedup", packed=True))
    model.module.config._attn_implementation = "flash_attention_2"
    with pytest.raises(ValueError, match="'flash_attention_2', which takes no tree mask"):
        run(model, batch("dedup", packed=True))
