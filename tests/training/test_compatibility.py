"""The table of verl's choices, against verl: it is complete, and what it takes does not depend on a density's unit."""

from pathlib import Path

import numpy as np
import pytest
import torch

pytest.importorskip("verl")
import verl.experimental.reward_loop.reward_manager  # noqa: F401 - registers them
from omegaconf import OmegaConf
from verl.trainer.config.algorithm import RolloutCorrectionConfig
from verl.trainer.ppo import core_algos
from verl.trainer.ppo.rollout_corr_helper import compute_rollout_correction_and_rejection_mask
from verl.workers.config import ActorConfig
from verl.workers.config.actor import PolicyLossConfig

from verl_softthink.training.compatibility import CHOICES, Verdict, allowed, document

DOCUMENT = Path(__file__).parents[2] / "recipes" / "COMPATIBILITY.md"
BEGIN, END = "<!-- verl's choices -->\n", "\n<!-- end -->"
BY_KEY = {choice.key: choice for choice in CHOICES}
LOSSES = BY_KEY["actor_rollout_ref.actor.policy_loss.loss_mode"]
CORRECTION = {
    "loss_type": "ppo_clip",
    "rollout_is": "token",
    "rollout_is_threshold": 2.0,
    "rollout_rs": "seq_mean_k1",
    "rollout_rs_threshold": 2.0,
}
RESPONSES, LENGTH = 6, 8


@pytest.fixture
def densities():
    """Old log-densities, how the new ones differ, advantages, mask, and another unit for each position."""
    generator = torch.Generator().manual_seed(0)

    def normal(spread):
        return torch.randn(RESPONSES, LENGTH, generator=generator, dtype=torch.float64) * spread

    mask = (torch.arange(LENGTH) < torch.randint(2, LENGTH + 1, (RESPONSES, 1), generator=generator)).long()
    return {"old": normal(2.0), "drift": normal(0.3), "advantages": normal(1.0), "mask": mask, "unit": normal(4.0)}


def gradient(mode, densities, unit, correction=CORRECTION):
    choices = PolicyLossConfig(dro_beta=0.1, rollout_correction=RolloutCorrectionConfig(**correction))
    config = ActorConfig(strategy="fsdp", rollout_n=2, ppo_micro_batch_size_per_gpu=1, policy_loss=choices)
    config.global_batch_info.update(
        {"dp_size": 1, "batch_num_tokens": None, "global_batch_size": RESPONSES, "loss_scale_factor": None}
    )
    old = densities["old"] + unit
    new = (old + densities["drift"]).requires_grad_()
    torch.manual_seed(0)
    loss, _ = core_algos.get_policy_loss_fn(mode)(
        old_log_prob=old,
        log_prob=new,
        advantages=densities["advantages"],
        response_mask=densities["mask"],
        loss_agg_mode="seq-mean-token-sum" if mode == "reinforce_sum" else "token-mean",
        config=config,
    )
    return torch.autograd.grad(loss, new)[0]


@pytest.mark.parametrize("mode", [*allowed(LOSSES, law=True), "reinforce_sum"])
def test_an_allowed_loss_has_the_same_gradient_in_another_unit(densities, mode):
    plain = gradient(mode, densities, 0.0)
    assert plain.abs().max() > 0
    torch.testing.assert_close(gradient(mode, densities, densities["unit"]), plain)


def test_bypass_mode_has_it_with_its_other_loss_too(densities):
    plain, shifted = (
        gradient("bypass_mode", densities, unit, CORRECTION | {"loss_type": "reinforce"})
        for unit in (0.0, densities["unit"])
    )
    torch.testing.assert_close(shifted, plain)


@pytest.mark.parametrize("mode", [name for name, e in LOSSES.entries.items() if e.verdict is Verdict.REFUSED])
def test_a_refused_loss_has_not(densities, mode):
    plain = gradient(mode, densities, 0.0)
    assert not torch.allclose(gradient(mode, densities, densities["unit"]), plain)


@pytest.mark.parametrize("kind", allowed(BY_KEY["algorithm.kl_penalty"], law=True))
def test_an_allowed_divergence_is_the_same_in_another_unit(densities, kind):
    old, new = densities["old"], densities["old"] + densities["drift"]
    plain, shifted = (core_algos.kl_penalty(new + unit, old + unit, kind) for unit in (0.0, densities["unit"]))
    torch.testing.assert_close(shifted, plain)


@pytest.mark.parametrize("mode", ["token", "sequence"])
@pytest.mark.parametrize("rejection", allowed(BY_KEY["algorithm.rollout_correction.rollout_rs"], law=True))
def test_corrections_are_the_same_in_another_unit(densities, mode, rejection):
    def corrected(unit):
        weights, mask, _ = compute_rollout_correction_and_rejection_mask(
            old_log_prob=densities["old"] + densities["drift"] + unit,
            rollout_log_prob=densities["old"] + unit,
            response_mask=densities["mask"],
            rollout_is=mode,
            rollout_rs=rejection,
            rollout_rs_threshold=1.2,
        )
        return weights.batch["rollout_is_weights"], mask

    for shifted, plain in zip(corrected(densities["unit"]), corrected(0.0), strict=True):
        torch.testing.assert_close(shifted, plain)


@pytest.mark.parametrize("choice", [choice for choice in CHOICES if choice.registered], ids=lambda choice: choice.key)
def test_the_table_has_all_that_verl_registers_and_nothing_else(choice):
    ours = {name for name, value in choice.registered().items() if value.__module__.startswith("verl.")}
    assert set(choice.entries) == ours


def test_estimators_that_are_taken_read_no_log_probs(densities):
    rewards = torch.zeros(RESPONSES, LENGTH).index_fill(1, torch.tensor([0]), 1.0)
    rewards[::2] = 0
    arguments = {
        "token_level_rewards": rewards,
        "response_mask": densities["mask"],
        "index": np.repeat(["a", "b"], 3),
        "config": OmegaConf.create({"gamma": 1.0}),
    }
    for name in set(allowed(BY_KEY["algorithm.adv_estimator"], law=True)) - {"gae"}:
        estimator = core_algos.get_adv_estimator_fn(name)
        advantages, _ = estimator(**arguments)
        assert advantages.isfinite().all(), name


def test_the_document_is_the_table():
    text = DOCUMENT.read_text(encoding="utf-8")
    assert text.partition(BEGIN)[2].partition(END)[0] == document()
