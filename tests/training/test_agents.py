"""Every row of a step draws noise of its own, which a resumed run draws again; validation keeps to its agent loop."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("verl")
from omegaconf import OmegaConf
from support.composing import composed
from verl.utils import tensordict_utils as tu
from verl.utils.dataset.rl_dataset import RLHFDataset

from verl_softthink.rollout.agent_loop import request_seed
from verl_softthink.rollout.fields import OCCURRENCE
from verl_softthink.training.agent_column import check_loaded
from verl_softthink.training.agents import Agents

LOOP = "softthink_agent"


class Manager:
    """Takes what verl's manager of agent loops would be sent."""

    agent_loop_workers = ("worker",)

    def __init__(self):
        self.rows = []
        self.loops = []

    def generate_sequences(self, prompts):
        self.loops.append(tu.get(prompts, "agent_name"))
        columns = {name: tu.get(prompts, name) for name in ("raw_prompt", OCCURRENCE)}
        step = tu.get(prompts, "global_steps")
        for row in range(len(prompts)):
            self.rows.append({name: column[row] for name, column in columns.items()} | {"global_steps": step})


def batch(texts, step=1, validate=False, **columns):
    prompts = np.empty(len(texts), dtype=object)
    prompts[:] = [[{"role": "user", "content": text}] for text in texts]
    columns = {name: np.array(column, dtype=object) for name, column in columns.items()}
    rows = tu.get_tensordict({"raw_prompt": prompts, **columns})
    tu.assign_non_tensor_data(rows, "global_steps", step)
    if validate:
        tu.assign_non_tensor_data(rows, "validate", True)
    return rows


def seeds_of(batches, sessions=2):
    manager = Manager()
    agents = Agents(manager, LOOP, validation_loop=None)
    for sent in batches:
        agents.generate_sequences(sent)
    return [request_seed(0, row | {"session_id": session}) for row in manager.rows for session in range(sessions)]


@given(st.lists(st.lists(st.sampled_from("abc"), min_size=1, max_size=6), min_size=1, max_size=4))
def test_no_two_responses_of_a_step_share_noise_and_a_resumed_run_repeats_it(texts):
    seeds = seeds_of(batch(part) for part in texts)
    assert len(set(seeds)) == len(seeds) == 2 * sum(map(len, texts))
    assert seeds == seeds_of(batch(part) for part in texts)


def test_a_file_that_repeats_a_problem_measures_as_many_thoughts():
    seeds = seeds_of([batch(["q"] * 20, validate=True), batch(["q"] * 12, validate=True)], sessions=1)
    assert len(set(seeds)) == 32


def test_a_step_does_not_depend_on_the_steps_before_it():
    both = seeds_of([batch(["q", "q"], step=1), batch(["q", "q"], step=2)])
    assert both[4:] == seeds_of([batch(["q", "q"], step=2)]) and len(set(both)) == 8


def test_prompts_that_have_a_number_keep_it():
    rows = batch(["q", "q", "q"])
    manager = Manager()
    agents = Agents(manager, LOOP, validation_loop=None)
    agents.generate_sequences(rows)
    agents.generate_sequences(tu.index_select_tensor_dict(rows, [2, 2]))
    assert [row[OCCURRENCE] for row in manager.rows] == [0, 1, 2, 2, 2]


def test_validation_has_its_own_loop_and_training_the_default():
    manager = Manager()
    agents = Agents(manager, LOOP, validation_loop="single_turn_agent")
    agents.generate_sequences(batch(["q"]))
    agents.generate_sequences(batch(["q"], validate=True))
    assert manager.loops == [None, "single_turn_agent"] and agents.agent_loop_workers == ("worker",)


@pytest.mark.parametrize("validate", [False, True])
def test_rows_cannot_choose_another_loop(validate):
    agents = Agents(Manager(), LOOP, validation_loop=None)
    agents.generate_sequences(batch(["q"], validate=validate, agent_name=[LOOP]))
    purpose = "validation" if validate else "training"
    with pytest.raises(ValueError, match=f"the {purpose} data has a column agent_name with 'tool_agent', .*remove"):
        agents.generate_sequences(batch(["q", "r"], validate=validate, agent_name=[LOOP, "tool_agent"]))


def test_a_method_sends_its_own_requests_to_its_own_loop():
    rows, manager = batch(["q"], agent_name=[LOOP]), Manager()
    tu.assign_non_tensor_data(rows, "agent_name", "softthink_branch_agent")
    Agents(manager, LOOP, validation_loop=None).generate_sequences(rows)
    assert manager.loops == ["softthink_branch_agent"]


def test_data_that_verl_has_loaded_from_anywhere_cannot_choose_another_loop(tmp_path):
    """As JSON lines here, which nobody reads before; a file of another machine comes the same way."""
    config = composed(["+softthink=soft_grpo"], "data.train_files=hdfs://cluster/train.jsonl")

    def loaded(*loops):
        rows = [{"prompt": [{"role": "user", "content": "q"}], "agent_name": loop} for loop in loops]
        file = tmp_path / f"{len(loops)}.jsonl"
        file.write_text("\n".join(map(json.dumps, rows)))
        return RLHFDataset(str(file), tokenizer=None, config=OmegaConf.create({"filter_overlong_prompts": False}))

    check_loaded(config, train_files=loaded(LOOP), val_files=object())
    with pytest.raises(ValueError, match=r"data\.train_files=hdfs://cluster/train\.jsonl has a column .*'tool_agent'"):
        check_loaded(config, train_files=loaded(LOOP, "tool_agent"))
