"""Published files in each of their shapes become verl's schema; what cannot be read is named."""

import importlib.util
import json

import pyarrow
import pyarrow.parquet
import pytest
from typer.testing import CliRunner

from verl_softthink.cli import app
from verl_softthink.data import reasoning_gym
from verl_softthink.data.math_reward import compute_score
from verl_softthink.data.prepare import prepare
from verl_softthink.data.read_number import read_number
from verl_softthink.data.sources import SOURCES, bare_question

DAPO = (
    "Solve the following math problem step by step. The last line of your response should be of the form Answer: "
    "$Answer (without quotes) where $Answer is the answer to the problem.\n\nWhat is 30 + 4?\n\nRemember to put your "
    'answer on its own line after "Answer:".'
)
#: One or two records of each data set as its publisher writes them, the file's kind, and the answers.
PUBLISHED = {
    "gsm8k": (
        "test",
        ".jsonl",
        [
            {"question": "Two and two?", "answer": "It is <<2+2=4>>4.\n#### 4"},
            {"question": "A lot\u2028of it?", "answer": "Well.\n#### 1,234"},
        ],
        ["4", "1234"],
    ),
    "math": (
        "train",
        ".json",
        [{"problem": "Half?", "level": "Level 1", "type": "Algebra", "solution": "So \\boxed{\\frac{1}{2}}."}],
        ["\\frac{1}{2}"],
    ),
    "math500": (
        "test",
        ".jsonl",
        [{"problem": "Half of one?", "solution": "...", "answer": "\\frac12", "unique_id": "a/1"}],
        ["\\frac12"],
    ),
    "deepscaler": ("train", ".json", [{"problem": "1 + 1?", "answer": "2", "solution": "2"}], ["2"]),
    "dapo": (
        "train",
        ".parquet",
        [
            {
                "data_source": "math_dapo",
                "prompt": [{"role": "user", "content": DAPO}],
                "ability": "MATH",
                "reward_model": {"ground_truth": "34", "style": "rule-lighteval/MATH_v2"},
                "extra_info": {"index": "0"},
            }
        ]
        * 3,
        ["34"],
    ),
    "aime24": ("test", ".parquet", [{"id": 60, "problem": "p?", "solution": "s", "answer": "204"}], ["204"]),
    "aime25": ("test", ".jsonl", [{"problem": "q?", "answer": 70, "id": "0"}], ["70"]),
    "own": (
        "train",
        ".jsonl",
        [
            {"question": "a?", "answer": "12"},
            {"question": "b?", "answer": 1.5},
            {"question": "c?", "answer": "Five and two.\n#### 7"},
            {"question": "d?", "answer": "So \\boxed{3}."},
        ],
        ["12", "1.5", "7", "3"],
    ),
}


def write(path, records):
    if path.suffix == ".parquet":
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(records), path)
    elif path.suffix == ".json":
        path.write_text(json.dumps(records))
    else:
        path.write_text("\n".join(json.dumps(record, ensure_ascii=False) for record in records) + "\n")
    return path


def test_every_data_set_is_tried():
    assert set(PUBLISHED) == set(SOURCES)


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_files_become_verls_schema(tmp_path, name):
    split, suffix, records, answers = PUBLISHED[name]
    file = write(tmp_path / f"published{suffix}", records)
    (path,) = prepare(name, tmp_path / "out", files={split: file})
    assert path.name == f"{name}-{split}.parquet"
    rows = pyarrow.parquet.read_table(path).to_pylist()
    assert [row["reward_model"]["ground_truth"] for row in rows] == answers
    assert {(row["data_source"], row["extra_info"]["split"]) for row in rows} == {(SOURCES[name].data_source, split)}
    for row in rows:
        assert row["prompt"][-1]["role"] == "user" and row["extra_info"]["question"] in row["prompt"][-1]["content"]
        truth = row["reward_model"]["ground_truth"]
        grader = "math_verify" if read_number(truth) is None else "number"
        for answer, score in ((truth, 1.0), (f"7{truth}", 0.0)):
            for response in (f"#### {answer}", f"\\boxed{{{answer}}}"):
                assert compute_score(row["data_source"], response, truth, grader=grader)["score"] == score


def test_published_instructions_give_way_to_ours(tmp_path):
    file = write(tmp_path / "dapo.parquet", PUBLISHED["dapo"][2])
    (path,) = prepare("dapo", tmp_path, files={"train": file})
    (row,) = pyarrow.parquet.read_table(path).to_pylist()  # three copies are one problem
    assert row["extra_info"]["question"] == "What is 30 + 4?"
    assert row["prompt"] == [
        {
            "role": "user",
            "content": "What is 30 + 4? Let's think step by step and output the final answer within \\boxed{}.",
        }
    ]
    assert bare_question(row["prompt"][0]["content"]) == "What is 30 + 4?"
    assert bare_question("Let's think step by step about it.") == "Let's think step by step about it."


@pytest.mark.parametrize(
    ("name", "suffix", "content", "message"),
    [
        ("gsm8k", ".jsonl", '{"question": "a", "answer": "just 4"}', r"f\.jsonl: record 1: column answer: no #### in"),
        (
            "gsm8k",
            ".jsonl",
            '{"query": "a", "answer": "#### 4"}',
            "no column for the question: expected question, found",
        ),
        ("gsm8k", ".jsonl", '{"question": "a", "answer": "#### 4"}\n{"question"', r"f\.jsonl:2: it is not JSON"),
        ("gsm8k", ".jsonl", "[1]", "record 1 is a list"),
        ("gsm8k", ".jsonl", "", "holds no records"),
        ("math", ".json", '[{"problem": "a", "solution": "no box"}]', r"column solution: no complete \\boxed"),
        (
            "math",
            ".json",
            '{"problem": "a"}\n{"problem": "b"}',
            r"f\.json: it is not JSON \(.* line 2 .* name the file \.jsonl",
        ),
        ("aime24", ".json", '[{"problem": "a", "answer": ["1", "2"]}]', "2 answers"),
        ("aime24", ".json", '[{"problem": "a", "answer": ""}]', "the answer is '', which is none"),
        ("aime24", ".json", '[{"problem": "a", "answer": null}]', "the answer is None, which is none"),
        ("aime24", ".json", '[{"problem": "a", "answer": NaN}]', "the answer is nan, which is none"),
        ("gsm8k", ".json", '[{"question": "a", "answer": null}]', "the answer is None, which is none"),
        ("gsm8k", ".json", '[{"question": "a", "answer": "well ####"}]', "which is none"),
        ("gsm8k", ".json", '[{"question": "a", "answer": 4}]', "column answer: no #### in '4'"),
        (
            "math",
            ".json",
            '[{"problem": "a", "solution": "\\\\boxed{ }"}]',
            "column solution: the answer is .* is none",
        ),
        ("aime24", ".json", '[{"problem": 3, "answer": "1"}]', "the question is 3, not a text"),
        ("aime24", ".parquet", "no parquet", "it is not a parquet file"),
        ("aime24", ".csv", "a,b", "unknown kind of file"),
    ],
)
def test_what_cannot_be_read_is_named(tmp_path, name, suffix, content, message):
    file = tmp_path / f"f{suffix}"
    file.write_text(content)
    split = next(iter(SOURCES[name].splits))
    with pytest.raises(ValueError, match=message):
        prepare(name, tmp_path / "out", files={split: file})
    assert not (tmp_path / "out").exists()


def test_unreadable_records_are_left_out_on_request_and_counted(tmp_path, caplog):
    file = write(tmp_path / "f.jsonl", [{"problem": f"p{i}", "answer": "" if i == 1 else "3"} for i in range(3)])
    with pytest.raises(
        ValueError, match="record 2: column answer: the answer is '', which is none; .* --skip-unreadable"
    ):
        prepare("aime24", tmp_path / "out", files={"test": file})
    with caplog.at_level("INFO"):
        (path,) = prepare("aime24", tmp_path / "out", files={"test": file}, skip=True)
    assert pyarrow.parquet.read_table(path).num_rows == 2
    assert "1 of 3 records cannot be read and are left out" in caplog.text


def test_the_command(tmp_path):
    file = write(tmp_path / "test.jsonl", PUBLISHED["gsm8k"][2])
    run = CliRunner().invoke(app, ["data", "gsm8k", "--out", str(tmp_path), "--file", f"test={file}", "--limit", "1"])
    assert run.exit_code == 0, run.output
    assert pyarrow.parquet.read_table(tmp_path / "gsm8k-test.parquet").num_rows == 1
    for arguments, message in (
        (["--file", str(file)], "write SPLIT=FILE"),
        (["--file", f"dev={file}"], "gsm8k has the splits train, test"),
        (["--file", "test=/no/such.jsonl"], "/no/such.jsonl does not exist"),
        (["--prompt", "nicely"], "--prompt nicely is unknown: use one of"),
    ):
        run = CliRunner().invoke(app, ["data", "gsm8k", "--out", str(tmp_path), *arguments])
        assert run.exit_code == 2 and message in run.output, run.output


@pytest.mark.parametrize("name", PUBLISHED)
def test_only_what_is_true_of_the_given_file_is_said(tmp_path, caplog, name):
    """Neither the publisher's licence nor the kind of its answers is that of somebody's file."""
    source = SOURCES[name]
    split = next(iter(source.splits))
    for answer, are_numbers in (("7", True), ("\\frac{x}{2}", False)):
        form = {"gsm8k": "#### {}", "math": "\\boxed{{{}}}"}.get(name, "{}")
        record = {source.question[0]: "q?", source.answer[0]: form.format(answer)}
        caplog.clear()
        with caplog.at_level("INFO"):
            prepare(name, tmp_path / "out", files={split: write(tmp_path / "f.jsonl", [record])})
        assert "1 problems" in caplog.text and "(MIT)" not in caplog.text and "Apache" not in caplog.text
        assert ("grader=math_verify" not in caplog.text) == are_numbers


def test_without_a_file_of_ones_own_the_option_is_named(tmp_path):
    run = CliRunner().invoke(app, ["data", "own", "--out", str(tmp_path)])
    assert run.exit_code == 2 and "give your file, --file train=FILE" in run.output


def test_without_a_network_the_file_to_give_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    monkeypatch.setattr("datasets.config.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path)
    run = CliRunner().invoke(app, ["data", "aime24", "--out", str(tmp_path / "out")])
    assert run.exit_code == 2
    assert "verl-softthink data aime24 --file test=FILE" in run.output


@pytest.mark.parametrize(
    ("text", "answer"), [("so \\boxed{ 4 }", "4"), ("so\n#### 5", "5"), ("first\n6 ", "6"), ("\\boxed{7} #### 8", "7")]
)
def test_where_a_reasoning_gym_answer_is_looked_for(text, answer):
    assert reasoning_gym.given_answer(text) == answer


@pytest.mark.skipif(importlib.util.find_spec("reasoning_gym") is None, reason="pip install reasoning-gym")
def test_reasoning_gym_problems_are_graded_by_their_task(tmp_path):
    paths = reasoning_gym.prepare("chain_sum", tmp_path, {"test": 5, "train": 20})
    test, train = (pyarrow.parquet.read_table(path).to_pylist() for path in paths)
    assert not {row["extra_info"]["question"] for row in test} & {row["extra_info"]["question"] for row in train}
    for row in train:
        truth = row["reward_model"]["ground_truth"]
        score = [
            reasoning_gym.compute_score(row["data_source"], text, truth, row["extra_info"])["score"]
            for text in (f"\\boxed{{{truth}}}", f"\\boxed{{{truth}1}}")
        ]
        assert score[0] == 1.0 > score[1]


@pytest.mark.skipif(importlib.util.find_spec("reasoning_gym") is not None, reason="reasoning-gym is installed")
def test_missing_reasoning_gym_is_named(tmp_path):
    run = CliRunner().invoke(app, ["data", "reasoning-gym", "--task", "chain_sum", "--out", str(tmp_path)])
    assert run.exit_code == 2 and "pip install 'verl-softthink[reasoning-gym]'" in run.output
