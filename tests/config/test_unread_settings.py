"""Keys that verl's V1 trainer takes and does not read are refused, with what is read in their place."""

import copy
from pathlib import Path

import pytest
from omegaconf import OmegaConf, open_dict
from support.composing import composed

pytest.importorskip("verl")
from verl.experimental.reward_loop import migrate_legacy_reward_impl

from verl_softthink.pocket import checkpoint_path
from verl_softthink.training.check import check_config
from verl_softthink.training.unread_check import MOVED, UNREAD, moved

MODEL = [f"actor_rollout_ref.model.path={checkpoint_path()}", "data.max_response_length=64"]
ACTOR, ROLLOUT = "actor_rollout_ref.actor", "actor_rollout_ref.rollout"
GROUPS = ("custom_reward_function", "reward_model", "sandbox_fusion")


def leaves(node, prefix):
    """Dotted keys of a configuration's leaves."""
    if not OmegaConf.is_dict(node):
        return [prefix]
    return [leaf for key in node for leaf in leaves(node[key], f"{prefix}.{key}")]


def legacy_keys():
    config = composed(["+softthink=repro"])
    return [*(leaf for group in GROUPS for leaf in leaves(config[group], group)), "reward_model.reward_kwargs.x"]


@pytest.mark.parametrize("key", legacy_keys())
def test_a_key_of_earlier_releases_is_where_verl_s_own_migration_puts_it(key):
    config = copy.deepcopy(composed(["+softthink=repro", *MODEL]))
    value = "somewhere"
    with open_dict(config):
        OmegaConf.update(config, key, value, force_add=True)
        if key.startswith("reward_model.reward_loop_"):
            # Verl moves the three together.
            config.reward_model.reward_loop_source = value
    with pytest.raises(ValueError) as error:
        check_config(config)
    new = moved(key)
    fix = "remove it" if new is None else f"set {new}"
    sentence = f"{key}='somewhere': a key of earlier releases, which verl's main_ppo takes and does not read; {fix}"
    assert sentence in str(error.value).splitlines()
    migrated = migrate_legacy_reward_impl(copy.deepcopy(config))
    if new is None:
        assert value not in str(OmegaConf.to_container(migrated.reward))
    else:
        assert OmegaConf.select(migrated, new) == value


def test_a_key_of_earlier_releases_that_says_what_holds_anyway_is_taken():
    check_config(composed(["+softthink=soft_grpo", *MODEL], "reward_model.enable=False"))


@pytest.mark.parametrize("recipe", ["soft_grpo", "repro"])
@pytest.mark.parametrize(
    ("overrides", "sentence"),
    [
        ([f"{ACTOR}.clip_ratio=0.1"], f"{ACTOR}.clip_ratio=0.1: verl reads clip_ratio_low and clip_ratio_high"),
        ([f"{ACTOR}.grad_clip=0.5"], f"{ACTOR}.grad_clip=0.5: verl's FSDP engine reads {ACTOR}.optim.clip_grad"),
        ([f"{ROLLOUT}.over_sample_rate=0.1"], f"{ROLLOUT}.over_sample_rate=0.1: verl's V1 trainer does not read it"),
        ([f"{ACTOR}.use_prefix_grouper=True"], f"{ACTOR}.use_prefix_grouper=True: verl's V1 trainer does not read it"),
        (["actor_rollout_ref.model.tiled_mlp.enabled=True"], "verl's FSDP engine does not read it; set it to False"),
        (["actor_rollout_ref.hybrid_engine=False"], "only trainer.v1.trainer_mode=separate_async reads it"),
        ([f"{ROLLOUT}.do_sample=False"], f"{ROLLOUT}.do_sample=False: verl's V1 trainer does not read it"),
        (
            [f"{ROLLOUT}.val_kwargs.do_sample=False", f"{ROLLOUT}.val_kwargs.temperature=0.6"],
            f"{ROLLOUT}.val_kwargs.do_sample=False: verl's V1 trainer does not read it",
        ),
        (["actor_rollout_ref.model.lora.rank=8"], "actor_rollout_ref.model.lora.rank=8: a key of Megatron's"),
        (["trainer.val_only=True", "trainer.val_before_train=False"], "trainer.val_only=True: verl reads it where"),
        (["trainer.critic_warmup=20"], "trainer.critic_warmup=20: there is no critic to warm up"),
        ([f"{ACTOR}.freeze_vision_tower=True"], "nothing in verl reads it, and the tower would be trained"),
        (["critic.grad_clip=0.5"], "critic.grad_clip=0.5: verl's FSDP engine reads critic.optim.clip_grad"),
        (["data.return_raw_input_ids=True"], "data.return_raw_input_ids=True: nothing in verl reads it"),
        ([f"{ROLLOUT}.multi_stage_wake_up=True"], "nothing in verl reads it; set it to False"),
        ([f"{ROLLOUT}.multi_turn.num_repeat_rollouts=4"], f"{ROLLOUT}.n says how many responses a prompt gets"),
        (["actor_rollout_ref.nccl_timeout=1800"], "actor_rollout_ref.nccl_timeout=1800: nothing in verl reads it"),
        (["trainer.balance_batch=False"], "trainer.balance_batch=False: verl's V1 trainer balances every batch"),
        (["trainer.esi_redundant_time=600"], "saves nothing when the machine is about to be taken away"),
        ([f"{ROLLOUT}.full_determinism=True"], "sends every request under one id and one seed"),
    ],
)
def test_a_switch_that_nothing_reads_is_refused(recipe, overrides, sentence):
    with pytest.raises(ValueError) as error:
        check_config(composed([f"+softthink={recipe}", *MODEL], *overrides))
    assert sentence in str(error.value)


def test_answers_that_are_to_be_sampled_need_a_temperature():
    """Of verl's default 0: with ``val_kwargs.n`` they would be the same answer n times."""
    with pytest.raises(ValueError, match=r"val_kwargs\.do_sample=True: verl's V1 trainer does not read it"):
        check_config(composed(["+softthink=repro", *MODEL], f"{ROLLOUT}.val_kwargs.do_sample=True"))


@pytest.mark.parametrize(
    "overrides",
    [
        [f"{ACTOR}.clip_ratio=0.1", f"{ACTOR}.clip_ratio_low=0.1", f"{ACTOR}.clip_ratio_high=0.1"],
        [f"{ACTOR}.clip_ratio_low=3e-4", f"{ACTOR}.clip_ratio_high=4e-4"],
        [f"{ACTOR}.optim.clip_grad=0.5"],
        [f"{ACTOR}.grad_clip=0.5", f"{ACTOR}.optim.clip_grad=0.5"],
        ["trainer.val_only=True"],
        ["trainer.critic_warmup=0"],
        ["actor_rollout_ref.model.lora_rank=8", "actor_rollout_ref.model.lora.merge=True"],
        [f"{ROLLOUT}.val_kwargs.do_sample=False", f"{ROLLOUT}.val_kwargs.temperature=0"],
    ],
)
def test_what_is_read_is_taken(overrides):
    check_config(composed(["+softthink=repro", *MODEL], *overrides))


def test_the_document_names_every_one_of_them():
    page = (Path(__file__).parents[2] / "recipes" / "COMPATIBILITY.md").read_text(encoding="utf-8")
    section = page.partition("does not read")[2].partition("# vLLM")[0]
    short = {key.removeprefix("reward_model.reward_loop") for key in MOVED if key != "reward_model.model"}
    assert [key for key in [*short, *(entry.key for entry in UNREAD)] if key not in section] == []
