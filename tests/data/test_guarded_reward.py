"""Reward functions that raise, as verl loads and calls them."""

import asyncio
import re

import pytest
import torch

from verl_softthink.data.guarded_reward import RewardSetupError, guarded

ROW = {"data_source": "mine", "ground_truth": "7", "extra_info": {}}
FUNCTIONS = """
def compute_score(data_source, solution_str, ground_truth, extra_info=None, **other):
    return {"score": float(int(solution_str) == int(ground_truth)), "length": len(solution_str)}

async def compute_later(data_source, solution_str, ground_truth, extra_info=None, **other):
    return compute_score(data_source, solution_str, ground_truth)["score"]
"""


def test_a_bare_score_is_reported_as_verls_managers_do():
    assert guarded(lambda solution_str, **row: 1.0)(solution_str="7", **ROW) == {
        "grader_failure": 0.0,
        "score": 1.0,
        "acc": 1.0,
    }


@pytest.mark.parametrize("result", [float("nan"), float("inf"), None, {"acc": 1.0}, {"score": "right"}])
def test_what_is_no_score_is_a_failure(result):
    verdict = guarded(lambda solution_str, **row: result)(solution_str="7", **ROW)
    assert verdict["grader_failure"] == 1.0 and verdict["score"] == 0.0


@pytest.mark.parametrize("error", [RewardSetupError("no"), ModuleNotFoundError("no"), NotImplementedError("no")])
def test_mistakes_of_the_set_up_still_end_the_run(error):
    def function(**arguments):
        raise error

    with pytest.raises(type(error)):
        guarded(function)(solution_str="7", **ROW)


def manager(tmp_path, *overrides: str):
    """verl's reward manager for a run with these overrides, as its reward workers make it."""
    pytest.importorskip("verl")
    from hydra import compose, initialize_config_module
    from verl.trainer.ppo.reward import load_reward_manager

    class Tokenizer:
        """Ids are code points."""

        def decode(self, ids, skip_special_tokens):
            return "".join(map(chr, ids))

    (tmp_path / "reward.py").write_text(FUNCTIONS)
    with initialize_config_module("verl.trainer.config", version_base=None):
        config = compose("ppo_trainer", overrides=list(overrides))
    return load_reward_manager(config, Tokenizer())


def score(reward_manager, texts: list[str], **columns) -> list[dict]:
    from verl import DataProto

    async def run():
        results = []
        for text in texts:
            ids = torch.tensor([[ord(character) for character in text]])
            row = {"data_source": "mine", "reward_model": {"ground_truth": "7"}, "extra_info": {}} | columns
            data = DataProto.from_dict(
                {"responses": ids, "attention_mask": torch.ones_like(ids)},
                non_tensors={key: [value] for key, value in row.items()},
            )
            results.append(await reward_manager.run_single(data))
        return results

    return reward_manager.loop.run_until_complete(run())


@pytest.mark.parametrize("name", ["naive", "dapo"])
@pytest.mark.parametrize("function", ["compute_score", "compute_later"])
def test_a_users_function_that_raises_is_score_0_and_logged_once(tmp_path, caplog, name, function):
    asyncio.set_event_loop(asyncio.new_event_loop())
    path = f"reward.custom_reward_function.path={tmp_path}/reward.py"
    reward_manager = manager(
        tmp_path,
        "+softthink.law.name=gumbel",
        path,
        f"reward.custom_reward_function.name={function}",
        f"reward.reward_manager.name={name}",
        "+reward.reward_kwargs.max_resp_len=100",
    )
    words = f"{name} {function}"
    results = score(reward_manager, ["7", "8", words, words])
    assert [result["reward_score"] for result in results] == [1.0, 0.0, 0.0, 0.0]
    assert [result["reward_extra_info"]["grader_failure"] for result in results] == [0.0, 0.0, 1.0, 1.0]
    if function == "compute_score":
        assert [result["reward_extra_info"]["length"] for result in results] == [1, 1, 0, 0]
    (record,) = [record for record in caplog.records if "the grader failed" in record.message]
    assert re.search(r"digest [0-9a-f]{16}, which is scored 0: ValueError: invalid literal", record.message)


def test_verls_own_scorer_is_guarded_and_unknown_data_still_end_the_run(tmp_path):
    asyncio.set_event_loop(asyncio.new_event_loop())
    reward_manager = manager(tmp_path, "+softthink.law.name=gumbel")
    (result,) = score(reward_manager, ["#### 7"], data_source="openai/gsm8k")
    assert result["reward_extra_info"] == {"grader_failure": 0.0, "score": 1.0, "acc": 1.0}
    with pytest.raises(NotImplementedError, match="mine"):
        score(reward_manager, ["#### 7"])


def test_runs_without_a_recipe_are_left_alone(tmp_path):
    asyncio.set_event_loop(asyncio.new_event_loop())
    reward_manager = manager(tmp_path, f"reward.custom_reward_function.path={tmp_path}/reward.py")
    with pytest.raises(ValueError, match="invalid literal"):
        score(reward_manager, ["no number"])
