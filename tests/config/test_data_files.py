"""Local data files against what a run reads of them, before anything starts."""

import pyarrow as pa
import pyarrow.parquet as parquet
import pytest
from support.composing import composed

from verl_softthink.pocket import checkpoint_path
from verl_softthink.training.check import check_config

MODEL = [f"actor_rollout_ref.model.path={checkpoint_path()}", "data.max_response_length=64"]
ROW = {
    "prompt": [{"role": "user", "content": "7+8"}],
    "data_source": "pocket",
    "reward_model": {"style": "rule", "ground_truth": "5"},
}


@pytest.fixture
def written(tmp_path):
    """Writes a file of two rows; gives its path."""

    def write(name, without=(), **columns):
        row = {key: value for key, value in ROW.items() if key not in without}
        parquet.write_table(pa.Table.from_pylist([row | columns, row | columns]), tmp_path / name)
        return tmp_path / name

    return write


def taken(*overrides, recipe="soft_grpo"):
    check_config(composed([f"+softthink={recipe}", *MODEL], *overrides))


def problems(*overrides, recipe="soft_grpo"):
    with pytest.raises(ValueError) as error:
        taken(*overrides, recipe=recipe)
    return str(error.value)


def test_a_column_cannot_choose_another_agent_loop(written):
    for path in (written("plain.parquet"), written("same.parquet", agent_name="softthink_agent")):
        taken(f"data.val_files={path}")
    other = written("other.parquet", agent_name="tool_agent")
    sentence = f"data.val_files='{other}' has a column agent_name with 'tool_agent', which would replace"
    assert sentence in problems(f"data.val_files={other}")


def test_a_file_that_is_no_parquet_is_named(tmp_path):
    empty = tmp_path / "empty.parquet"
    empty.touch()
    assert f"data.val_files='{empty}' cannot be read as parquet" in problems(f"data.val_files={empty}")


@pytest.mark.parametrize("recipe", ["soft_grpo", "repro"])
def test_a_row_must_have_what_verl_reads_of_it(written, recipe):
    path = written("rows.parquet")
    sentence = f"data.prompt_key='question' is no column of data.val_files='{path}', which has prompt, data_source"
    assert sentence in problems(f"data.val_files={path}", "data.prompt_key=question", recipe=recipe)
    text = written("text.parquet", prompt="7+8")
    sentence = f"data.val_files='{text}': its column 'prompt' (data.prompt_key) holds string, where verl reads a list"
    assert sentence in problems(f"data.val_files={text}", recipe=recipe)
    ungraded = written("ungraded.parquet", without=("data_source", "reward_model"))
    sentence = "has no column data_source and reward_model, which reward.reward_manager.name=naive reads"
    assert sentence in problems(f"data.val_files={ungraded}", recipe=recipe)


def test_a_data_set_or_a_reward_manager_of_the_user_s_own_reads_what_it_likes(written, tmp_path):
    own = tmp_path / "own.py"
    own.write_text("class Rows: ...\n\n\nclass Manager: ...\n")
    bare = written("bare.parquet", without=("prompt", "data_source"))
    taken(f"data.val_files={bare}", f"data.custom_cls.path={own}", "data.custom_cls.name=Rows")
    ungraded = written("ungraded.parquet", without=("reward_model",))
    manager = ["source=importlib", f"module.path={own}", "name=Manager"]
    taken(f"data.val_files={ungraded}", *(f"reward.reward_manager.{setting}" for setting in manager))


@pytest.mark.parametrize("values", ["null", "[]"])
def test_no_file_is_no_data(values):
    assert "verl reads both train_files and val_files; name a file" in problems(f"data.val_files={values}")


def test_training_data_fill_a_batch(written):
    path = written("train.parquet")
    rows = [f"data.train_files=[{path},{path}]", "actor_rollout_ref.actor.ppo_mini_batch_size=1"]
    taken(*rows, "data.train_batch_size=4")
    sentence = "data.train_batch_size=5 is more than the 4 rows of data.train_files"
    assert sentence in problems(*rows, "data.train_batch_size=5")
    assert "more than the 3 rows" in problems(*rows, "data.train_batch_size=4", "data.train_max_samples=3")
    taken(*rows, "data.train_batch_size=5", "trainer.val_only=True")
    # Of the whole nothing is known where a file is elsewhere.
    taken(f"data.train_files=[{path},hdfs://cluster/train.parquet]", "data.train_batch_size=1024")
