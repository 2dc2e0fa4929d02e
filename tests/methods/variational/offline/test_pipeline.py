"""The offline pipeline on the pocket reasoner, with transformers in vLLM's place (``test_command.py`` has vLLM)."""

import json
import math
import re
from pathlib import Path

import pytest
import torch

from verl_softthink.errors import FileError
from verl_softthink.files.work_folder import WorkFolder
from verl_softthink.methods.variational.offline.pipeline import Store
from verl_softthink.methods.variational.offline.questions import read_questions
from verl_softthink.methods.variational.offline.settings import OfflineSettings
from verl_softthink.methods.variational.offline.stages import Stages, training_rows
from verl_softthink.methods.variational.settings import HintSettings
from verl_softthink.pocket import checkpoint_path
from verl_softthink.pocket.data import write_parquet
from verl_softthink.pocket.reward import compute_score
from verl_softthink.pocket.tasks import generate

STRATOS_ROW = {
    "system": "Your role as an assistant ...",
    "conversations": [
        {"from": "user", "value": "Return your final response within \\boxed{}. What is 2 + 3?"},
        {
            "from": "assistant",
            "value": "<|begin_of_thought|>\n\nTwo and three.\nThat is five.\n\n<|end_of_thought|>\n\n"
            "<|begin_of_solution|>\n\n2 + 3 = 5, so the answer is \\boxed{5}.\n\n<|end_of_solution|>",
        },
    ],
}


def write_questions(tmp_path) -> Path:
    write_parquet(generate("train", 3, seed=0), tmp_path / "questions.parquet")
    return tmp_path / "questions.parquet"


def settings_for(tmp_path, **options) -> OfflineSettings:
    return OfflineSettings(
        questions=str(write_questions(tmp_path)),
        model=str(checkpoint_path()),
        hint=HintSettings(source="answer", template="{question}+{hint}"),
        **{"thoughts": 3, "answers": 2, "max_thought_tokens": 60, "max_answer_tokens": 4, **options},
    )


@pytest.fixture
def sampler(model, tokenizer):
    def sample(prompts, *, count, temperature, max_tokens, seeds):
        responses = []
        for prompt, seed in zip(prompts, seeds, strict=True):
            torch.manual_seed(seed)
            sequences = model.generate(
                torch.tensor([prompt] * count), do_sample=True, temperature=temperature, max_new_tokens=max_tokens
            )
            rows = [row[len(prompt) :].tolist() for row in sequences]
            end = tokenizer.eos_token_id
            responses.append([row[: row.index(end) + 1] if end in row else row for row in rows])
        return responses

    return sample


@torch.no_grad()
def log_likelihood(model, prompt, response, temperature):
    logits = model(torch.tensor([prompt + response])).logits[0, len(prompt) - 1 : -1] / temperature
    return logits.log_softmax(-1).gather(-1, torch.tensor(response)[:, None]).double().sum().item()


@pytest.mark.parametrize("importance", ["length_normalised", "exact"])
def test_weights_from_the_definition(tmp_path, model, tokenizer, sampler, importance):
    settings = settings_for(tmp_path, importance=importance)
    stages = Stages(settings, tokenizer)
    records = [{"question": question.as_dict()} for question in read_questions(tmp_path / "questions.parquet")]
    records = stages.sample(records, sampler)
    records = stages.score(records, model, model)
    records = stages.verify(records, sampler, compute_score)
    records = json.loads(json.dumps(stages.weigh(records)))
    assert any(sum(record["weights"]) for record in records)
    for record in records:
        question = record["question"]["messages"][-1]["content"]
        prompt, hinted = (
            tokenizer.encode(f"<user>{text}<assistant><think>")
            for text in (question, f"{question}+{record['question']['answer']}")
        )
        rho = []
        for thought, answer, rewards in zip(record["thoughts"], record["answer_ids"], record["rewards"], strict=True):
            assert tokenizer.decode(thought).count("</think>") == 1 and tokenizer.decode(thought).endswith("</think>")
            if max(rewards):
                assert tokenizer.decode(answer).removesuffix("<eos>") == record["question"]["answer"]
            ratio = log_likelihood(model, prompt, thought, 1.0) - log_likelihood(model, hinted, thought, 0.7)
            ratio = ratio / len(thought) if importance == "length_normalised" else ratio
            rho.append(math.exp(ratio) * sum(rewards) / len(rewards))
        expected = [value / sum(rho) if sum(rho) else 0.0 for value in rho]
        assert record["weights"] == pytest.approx(expected, rel=1e-4)

    rows = training_rows(records, stages)
    assert sum(row["weight"] for row in rows) / len(rows) == pytest.approx(1.0)
    assert all(
        compute_score("", tokenizer.decode(r["response_ids"], skip_special_tokens=True), a) == 1
        for r, a in [
            (row, record["question"]["answer"])
            for record in records
            for row in rows
            if row["question"] == record["question"]["messages"][-1]["content"]
        ]
    )


def test_reference_answers_are_scored_per_token_or_whole(tmp_path, model, tokenizer, sampler):
    records = [{"question": question.as_dict()} for question in read_questions(write_questions(tmp_path))]
    found = {}
    for answer in ("geometric_mean", "product"):
        stages = Stages(settings_for(tmp_path, answer=answer, importance="exact"), tokenizer)
        scored = stages.score(stages.sample(records, sampler), model, model)
        found[answer] = stages.weigh(scored)[0]
    record = found["product"]
    totals = [
        a - b + sum(c) for a, b, c in zip(record["model"], record["posterior"], record["answer_log_probs"], strict=True)
    ]
    rho = [math.exp(total - max(totals)) for total in totals]
    assert record["weights"] == pytest.approx([value / sum(rho) for value in rho], rel=1e-6)
    # One digit and the end of the sequence.
    assert {len(log_probs) for log_probs in record["answer_log_probs"]} == {2}
    assert found["geometric_mean"]["weights"] != pytest.approx(record["weights"], rel=1e-3)


def test_a_stored_shard_that_is_not_its_questions_is_refused(tmp_path):
    store = Store(WorkFolder(tmp_path, {}, option="--work"))
    shards = [[{"question": question.as_dict()}] for question in read_questions(write_questions(tmp_path))]
    store.run("sample", shards, lambda records: [record | {"thoughts": [[6]], "unfinished": 0} for record in records])
    shard = store.shard("sample", 1)
    sound = json.loads(shard.read_text())
    for damaged, reason in (
        (sound | {"thoughts": 3}, "no record of this pipeline (thoughts: Input should be a valid list)"),
        (sound | {"question": shards[0][0]["question"]}, "its question are not those of the stage before"),
        ({"question": sound["question"]}, "it has no thoughts, unfinished"),
    ):
        shard.write_text(json.dumps(damaged) + "\n")
        with pytest.raises(FileError, match=re.escape(f"{shard}:1: it is {reason}" if "is no" in reason else reason)):
            store.read("sample", shards)
    shard.write_text("")
    with pytest.raises(FileError, match="it has 0 records of 1 questions; remove the file, and it is computed again"):
        store.read("sample", shards)
    shard.write_text(json.dumps(sound) + "\n")
    assert store.read("sample", shards)[1] == [sound]


def test_bespoke_stratos(tmp_path, tokenizer):
    path = tmp_path / "stratos.jsonl"
    unanswered = json.loads(json.dumps(STRATOS_ROW).replace("boxed{5}", "text{5}"))
    path.write_text("\n".join(json.dumps(row) for row in (STRATOS_ROW, unanswered)))
    (question,) = read_questions(path)
    assert question.messages == [{"role": "user", "content": STRATOS_ROW["conversations"][0]["value"]}]
    assert (question.answer, question.thought) == ("5", "Two and three.\nThat is five.")
    assert question.solution == "2 + 3 = 5, so the answer is \\boxed{5}."

    stages = Stages(settings_for(tmp_path, keep="best"), tokenizer)
    record = {
        "question": question.as_dict(),
        "thoughts": [[20, 6], [21, 22, 6]],
        "answer_ids": [[12, 1], [13, 1]],
        "weights": [0.2, 0.8],
    }
    best, original = training_rows([record], stages)
    assert best["response_ids"] == [21, 22, 6, 13, 1] and best["weight"] == original["weight"] == 1.0
    assert original["response"] == f"{question.thought}</think>{question.solution}<eos>"


def test_rows_with_a_null_answer_are_left_out(tmp_path, caplog):
    rows = [{"prompt": [{"role": "user", "content": "q"}], "reward_model": {"ground_truth": t}} for t in ("5", None)]
    (tmp_path / "q.jsonl").write_text("\n".join(map(json.dumps, rows)))
    (question,) = read_questions(tmp_path / "q.jsonl")
    assert question.answer == "5" and "1 of 2 rows have no answer to check" in caplog.text


def test_files_that_are_no_questions_are_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="none.parquet does not exist"):
        read_questions(tmp_path / "none.parquet")
    (tmp_path / "other.jsonl").write_text('{"text": "x"}\n')
    with pytest.raises(ValueError, match="columns text are neither verl's"):
        read_questions(tmp_path / "other.jsonl")
