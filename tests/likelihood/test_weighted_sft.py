"""Per-sample weights in verl's SFT loss, through its dataset interface, its collator and its FSDP engine."""

from functools import partial

import pytest
import torch
from omegaconf import OmegaConf
from transformers import AutoModelForCausalLM
from verl.trainer.sft_trainer import create_sft_dataset
from verl.utils import tensordict_utils as tu
from verl.utils.dataset.dataset_utils import SFTTensorCollator

from verl_softthink.data.parquet import write_rows

from .models import VOCABULARY
from .runs import STOCK, build, train

SCALE, WEIGHTS = 20.0, (0.5, 2.0, 0.0, 1.5)
ENGINE = {"temperature": 1.0, "use_dynamic_bsz": False, "micro_batch_size_per_gpu": 2, "calculate_entropy": False}


@pytest.fixture
def rows(tmp_path):
    generator = torch.Generator().manual_seed(2)
    rows = [
        {
            "prompt_ids": torch.randint(0, VOCABULARY, (prompt,), generator=generator).tolist(),
            "response_ids": torch.randint(0, VOCABULARY, (response,), generator=generator).tolist(),
            "weight": weight,
        }
        for prompt, response, weight in zip((3, 5, 2, 4), (6, 2, 8, 1), WEIGHTS, strict=True)
    ]
    write_rows(rows, tmp_path / "train.parquet")
    return rows, tmp_path / "train.parquet"


def dataset(path, **overrides):
    """As verl's SFT trainer makes it."""
    config = {
        "custom_cls": {"path": "pkg://verl_softthink.methods.variational.offline.sft", "name": "WeightedThoughts"},
        "pad_mode": "no_padding",
        "max_length": 32,
        "token_scale": SCALE,
    }
    return create_sft_dataset([str(path)], OmegaConf.create(config | overrides), None, None)


@pytest.mark.parametrize("packed", [False, True])
def test_gradient_is_that_of_weighted_token_sums_over_a_constant(rows, model_path, packed):
    from verl.workers.utils.losses import sft_loss

    rows, path = rows
    batch = SFTTensorCollator("no_padding")(list(dataset(path)))
    engine = build(model_path("qwen3"), model_type=STOCK, packed=packed)
    data = tu.get_tensordict(
        batch, ENGINE | {"use_remove_padding": packed, "pad_mode": "no_padding", "global_batch_size": len(rows)}
    )
    loss, gradients = train(engine, data, partial(sft_loss, config=None))

    model = AutoModelForCausalLM.from_pretrained(model_path("qwen3"), dtype=torch.float32)
    expected = 0.0
    for row in rows:
        prompt, response = torch.tensor(row["prompt_ids"]), torch.tensor(row["response_ids"])
        logits = model(torch.cat((prompt, response))[None]).logits[0, len(prompt) - 1 : -1]
        total = logits.log_softmax(-1).gather(-1, response[:, None]).sum()
        expected = expected - row["weight"] * total / SCALE / len(rows)
    expected.backward()
    assert loss == pytest.approx(expected.item(), rel=1e-5)
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(gradients[name], parameter.grad, rtol=1e-4, atol=1e-5, msg=lambda m, n=name: n + m)


def test_batches_without_weights_get_verls_own_loss(rows, model_path):
    from verl.workers.utils.losses import sft_loss

    rows, path = rows
    batch = SFTTensorCollator("no_padding")(list(dataset(path)))
    del batch["softthink_token_weight"]
    data = tu.get_tensordict(
        batch, ENGINE | {"use_remove_padding": False, "pad_mode": "no_padding", "global_batch_size": len(rows)}
    )
    loss, _ = train(build(model_path("qwen3"), model_type=STOCK), data, partial(sft_loss, config=None))
    stock = sft_loss.__wrapped__
    expected, _ = train(build(model_path("qwen3"), model_type=STOCK), data, partial(stock, config=None))
    assert loss == pytest.approx(expected, rel=1e-6)


def test_settings_that_do_not_fit_are_refused(rows):
    _, path = rows
    with pytest.raises(ValueError, match="data.pad_mode='right'"):
        dataset(path, pad_mode="right")
    with pytest.raises(ValueError, match="data.token_scale=None"):
        dataset(path, token_scale=None)
    with pytest.raises(ValueError, match="data.max_length=9 is below the longest row's 10 tokens"):
        dataset(path, max_length=9)
