"""Files of the tasks over sets of states: verl's schema, rows of every arm, and a model's start."""

import json

import pyarrow.parquet
import pytest
from transformers import AutoModelForCausalLM, AutoTokenizer

from verl_softthink.data.sft_rows import SftRow, write_sft_rows
from verl_softthink.data.superposition import ARMS, PAUSE, prepare
from verl_softthink.pocket.reward import compute_score
from verl_softthink.pocket.superposition.graph_reachability import GraphReachability
from verl_softthink.pocket.superposition.permutation_words import PermutationWords

TASKS = (PermutationWords(), GraphReachability())
SFT = 40


@pytest.fixture(scope="module", params=TASKS, ids=lambda task: task.name)
def prepared(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp(request.param.name)
    prepare(request.param, folder, train=12, val=8, sft=SFT, seed=3)
    return request.param, folder


def rows(path):
    return pyarrow.parquet.read_table(path).to_pylist()


def test_problems_in_verls_schema(prepared):
    task, folder = prepared
    tokenizer = AutoTokenizer.from_pretrained(folder / "model")
    files = {split: rows(folder / f"{split}.parquet") for split in ("train", "val")}
    assert [len(found) for found in files.values()] == [12, 8]
    for row in files["train"] + files["val"]:
        assert row["data_source"] == f"pocket/{task.name}"
        answer = row["reward_model"]["ground_truth"]
        response = tokenizer.encode(f"s0 s1 </think> {answer} <eos>")
        text = tokenizer.decode(response, skip_special_tokens=True)
        assert compute_score(row["data_source"], text, answer) == 1.0
        assert compute_score(row["data_source"], text, "s99") == 0.0


def test_every_arm_of_a_problem(prepared):
    task, folder = prepared
    tokenizer = AutoTokenizer.from_pretrained(folder / "model")
    files = {name: [SftRow.of_dict(row) for row in rows(folder / f"sft_{name}.parquet")] for name in ARMS}
    assert {len(found) for found in files.values()} == {SFT}
    steps = task.steps
    for soft, path, paths, pause, other in zip(
        *(files[name] for name in ("soft", "path", "paths", "pause", "blind_path")), strict=True
    ):
        assert soft.prompt == path.prompt == paths.prompt == pause.prompt == other.prompt
        assert other.response[steps:] == path.response[steps:] and other.mask == path.mask
        listed = [paths.response[at : at + steps] for at in range(0, len(paths.response) - 3, steps)]
        assert path.response[:steps] in listed and other.response[:steps] in listed
        assert tokenizer.decode(soft.prompt).startswith("<user>") and tokenizer.decode(soft.prompt[-1:]) == "<think>"
        assert soft.response[steps:] == path.response[steps:] == pause.response[steps:]
        assert tokenizer.decode(soft.response[steps:]).split()[0] == "</think>"
        assert len(soft.response) == steps + 3 and soft.mask == path.mask == [1] * (steps + 3)
        # The path goes through the sets, and each of all paths ends in another state of the last one.
        sets = [set(ids) for ids, _ in soft.targets[:steps]]
        assert all(token in states for token, states in zip(path.response, sets, strict=False))
        assert path.response[steps - 1] == soft.response[steps + 1]
        assert {*paths.response[steps - 1 : -3 : steps]} == sets[-1]
        assert len(paths.response) == steps * len(sets[-1]) + 3
        assert all(weights == [1 / len(ids)] * len(ids) for ids, weights in soft.targets[:steps])
        assert [ids for ids, _ in soft.targets[steps:]] == [[], [], []]
        assert pause.response[:steps] == [tokenizer.convert_tokens_to_ids(PAUSE)] * steps
        assert pause.mask == [0] * steps + [1] * 3


def test_the_start_of_the_model(prepared):
    task, folder = prepared
    model = AutoModelForCausalLM.from_pretrained(folder / "model")
    config = model.config
    assert (config.num_hidden_layers, config.hidden_size) == (2, 128)
    longest = max(len(row["prompt_ids"]) + len(row["response_ids"]) for row in rows(folder / "sft_paths.parquet"))
    assert longest <= config.max_position_embeddings
    tokenizer = AutoTokenizer.from_pretrained(folder / "model")
    assert config.vocab_size == len(tokenizer) and set(task.words) <= set(tokenizer.get_vocab())


def test_facts_of_the_task(prepared):
    task, folder = prepared
    facts = json.loads((folder / "task.json").read_text())
    assert facts["thoughts"] == task.steps and facts["guess"] == 0.25
    assert 0.25 < facts["blind_path_accuracy"] < 0.5


@pytest.mark.parametrize(
    ("target", "message"),
    [
        (((5, 5), (0.5, 0.5)), "names a candidate twice"),
        (((5, 6), (0.5, 0.4)), "sums to 0.9"),
        (((5,), (0.5, 0.5)), "has 1 ids and 2 weights"),
        (((-1,), (1.0,)), "has the id -1"),
        (((5, 6), (1.0, 0.0)), "has the weight 0.0"),
        (((5, 6), (float("nan"), 1.0)), "has the weight nan"),
        (((5, 6), (1.0, float("nan"))), "has the weight nan"),
    ],
)
def test_targets_that_are_no_distributions_are_refused(target, message):
    with pytest.raises(ValueError, match=f"response position 1 {message}"):
        SftRow([1], [2, 3], [1, 1], [((), ()), target])


def test_rows_that_do_not_fit_are_refused(tmp_path):
    with pytest.raises(ValueError, match="mask has 1 positions, but the response has 2"):
        SftRow([1], [2, 3], [1])
    with pytest.raises(ValueError, match="the prompt is empty"):
        SftRow([], [2, 3], [1, 1])
    with pytest.raises(ValueError, match="no rows"):
        write_sft_rows([], tmp_path / "rows.parquet")
