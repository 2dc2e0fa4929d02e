"""Parquet files, read back by pyarrow and by verl's own dataset."""

import pyarrow.parquet
import pytest

from verl_softthink.pocket import checkpoint_path
from verl_softthink.pocket.data import DATA_SOURCE, main, write_parquet
from verl_softthink.pocket.tasks import generate


def test_rows_read_back_in_order(tmp_path):
    problems = generate("val", 5, seed=0)
    write_parquet(problems, tmp_path / "deep" / "val.parquet")
    rows = pyarrow.parquet.read_table(tmp_path / "deep" / "val.parquet").to_pylist()
    assert rows == [
        {
            "data_source": DATA_SOURCE,
            "prompt": [{"role": "user", "content": problem.question}],
            "ability": "arithmetic",
            "reward_model": {"style": "rule", "ground_truth": problem.answer},
            "extra_info": {"split": "val", "index": index, "solution": ";".join(problem.steps)},
        }
        for index, problem in enumerate(problems)
    ]


def test_no_problems_are_refused(tmp_path):
    with pytest.raises(ValueError, match="no problems to write"):
        write_parquet([], tmp_path / "empty.parquet")


def test_command_line_writes_disjoint_files(tmp_path):
    main(out=tmp_path, train=40, val=20, hard=0, seed=0)
    questions = {}
    for split, count in (("train", 40), ("val", 20)):
        rows = pyarrow.parquet.read_table(tmp_path / f"{split}.parquet").to_pylist()
        assert len(rows) == count
        assert {row["extra_info"]["split"] for row in rows} == {split}
        questions[split] = {row["prompt"][0]["content"] for row in rows}
    assert not questions["train"] & questions["val"]


def test_the_longest_problems_in_a_file_of_their_own(tmp_path):
    main(out=tmp_path, train=4, val=4, hard=50, seed=1)
    rows = pyarrow.parquet.read_table(tmp_path / "val_hard.parquet").to_pylist()
    assert len(rows) == 50
    assert {row["data_source"] for row in rows} == {"pocket/longest"}
    assert {row["extra_info"]["solution"].count(";") for row in rows} == {5}
    assert {row["extra_info"]["split"] for row in rows} == {"val"}


def test_verl_dataset_reads_the_file(tmp_path):
    rl_dataset = pytest.importorskip("verl.utils.dataset.rl_dataset")
    from omegaconf import OmegaConf
    from verl.utils.tokenizer import hf_tokenizer

    problems = generate("train", 8, seed=0)
    write_parquet(problems, tmp_path / "train.parquet")
    config = OmegaConf.create({"max_prompt_length": 32, "filter_overlong_prompts": True, "cache_dir": str(tmp_path)})
    dataset = rl_dataset.RLHFDataset(
        data_files=str(tmp_path / "train.parquet"), tokenizer=hf_tokenizer(str(checkpoint_path())), config=config
    )
    assert len(dataset) == len(problems)
    row = dataset[3]
    assert row["raw_prompt"] == [{"role": "user", "content": problems[3].question}]
    assert row["reward_model"]["ground_truth"] == problems[3].answer
