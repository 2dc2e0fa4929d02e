"""Word problems in verl's parquet schema."""

import pyarrow.parquet
import pytest
from hypothesis import given
from hypothesis import strategies as st

from verl_softthink.data import word_problems
from verl_softthink.data.math_reward import compute_score
from verl_softthink.data.parquet import write_rows
from verl_softthink.data.prompts import ANSWER_MARKER, PROMPTS
from verl_softthink.data.word_problems import RANGES, SPLITS, TEMPLATES, Fact, generate


@pytest.mark.parametrize("digits", [(1,), (2,), (1, 2)])
def test_facts_are_disjoint_in_any_order_and_in_range(digits):
    facts = {split: {p.fact for p in generate(split, 300, 0, digits)} for split in SPLITS}
    unordered = {split: {(f.operator, frozenset((f.a, f.b))) for f in found} for split, found in facts.items()}
    assert not unordered["train"] & unordered["heldout"]
    allowed = {number for d in digits for number in range(RANGES[d][0], RANGES[d][1] + 1)}
    for fact in facts["train"] | facts["heldout"]:
        assert {fact.a, fact.b} <= allowed and fact.answer > 0


@given(st.integers(0, 99), st.integers(0, 99))
def test_a_sum_belongs_to_one_split(a, b):
    assert Fact(a, "+", b).split == Fact(b, "+", a).split


def test_the_question_tells_the_fact():
    seen = set()
    for problem in generate("train", 500, 3, (1, 2)):
        fact = problem.fact
        numbers = [int(word.strip("?.")) for word in problem.question.split() if word.strip("?.").isdigit()]
        assert sorted(numbers) == sorted((fact.a, fact.b))
        assert fact.answer == (fact.a + fact.b if fact.operator == "+" else fact.a - fact.b)
        assert "{" not in problem.question
        seen.add(fact.operator)
    assert seen == set(TEMPLATES)


def test_problems_depend_on_the_seed_alone():
    assert generate("train", 50, 1, (1,)) == generate("train", 50, 1, (1,))
    assert generate("train", 50, 1, (1,)) != generate("train", 50, 2, (1,))
    assert len(set(generate("heldout", 200, 1, (1,)))) == 200


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("test", 1, 0, (1,)), "split='test' is unknown: use one of train, heldout"),
        (("train", -1, 0, (1,)), "count=-1"),
        (("train", 1, 0, ()), r"digits=\(\)"),
        (("train", 1, 0, (3,)), r"digits=\(3,\): give one or more of 1, 2"),
    ],
)
def test_wrong_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        generate(*arguments)


def test_the_worked_examples_earn_their_reward_and_tell_no_held_out_fact():
    messages = PROMPTS["add_or_subtract"]("What is 2 plus 3?")
    assert [m["role"] for m in messages] == ["system", "user", "assistant", "user", "assistant", "user"]
    for solution, truth in ((messages[2]["content"], "8"), (messages[4]["content"], "4")):
        assert f"\n{ANSWER_MARKER} " in solution and compute_score("any", solution, truth)["score"] == 1.0
    assert all(Fact(*fact).split == "train" for fact in ((3, "+", 5), (7, "-", 3)))


def test_word_problem_files_are_verls_schema(tmp_path):
    word_problems.main(out=tmp_path, train=40, heldout=10, digits=[1], seed=0)
    tables = {split: pyarrow.parquet.read_table(tmp_path / f"{split}.parquet").to_pylist() for split in SPLITS}
    assert {split: len(rows) for split, rows in tables.items()} == {"train": 40, "heldout": 10}
    row = tables["heldout"][3]
    assert set(row) == {"data_source", "prompt", "ability", "reward_model", "extra_info"}
    assert row["extra_info"]["split"] == "heldout" and row["extra_info"]["index"] == 3
    assert row["prompt"][-1] == {"role": "user", "content": row["extra_info"]["question"]}
    solution = f"think\n#### {row['reward_model']['ground_truth']}"
    assert compute_score(row["data_source"], solution, row["reward_model"]["ground_truth"])["score"] == 1.0


def test_verls_dataset_reads_the_files(tmp_path):
    rl_dataset = pytest.importorskip("verl.utils.dataset.rl_dataset")
    from omegaconf import OmegaConf

    word_problems.main(out=tmp_path, train=4, heldout=4, digits=[1], seed=0)
    config = OmegaConf.create({"cache_dir": str(tmp_path / "cache"), "filter_overlong_prompts": False})
    dataset = rl_dataset.RLHFDataset([str(tmp_path / "train.parquet")], tokenizer=None, config=config)
    row = dataset[0]
    assert len(dataset) == 4 and row["data_source"] == "word_problems"
    assert row["raw_prompt"][-1]["role"] == "user" and int(row["reward_model"]["ground_truth"]) > 0


def test_an_empty_file_is_not_written(tmp_path):
    with pytest.raises(ValueError, match="no rows"):
        write_rows([], tmp_path / "x.parquet")
    assert not list(tmp_path.iterdir())
