"""``verl-softthink data variational`` with real vLLM engines, interrupted after a stage and continued."""

import json
import subprocess
import sys

import pytest
import torch
from pyarrow import parquet

from verl_softthink.pocket import checkpoint_path
from verl_softthink.pocket.data import write_parquet
from verl_softthink.pocket.reward import compute_score
from verl_softthink.pocket.tasks import generate

pytestmark = pytest.mark.vllm

SETTINGS = """
hint: {source: answer, template: "{question}+{hint}"}
reward: pkg://verl_softthink.pocket.reward
thoughts: 4
answers: 2
max_thought_tokens: 48
max_answer_tokens: 4
shard: 4
"""


def command(tmp_path, *arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [
            *(sys.executable, "-c", "from verl_softthink.cli import app; app()", "data", "variational"),
            *("--questions", str(tmp_path / "questions.parquet"), "--model", str(checkpoint_path())),
            *("--work", str(tmp_path / "work"), "--settings", str(tmp_path / "settings.yaml"), *arguments),
        ],
        capture_output=True,
        text=True,
        timeout=500,
    )


def test_from_questions_to_weighted_rows(tmp_path):
    problems = generate("train", 6, seed=0)
    write_parquet(problems, tmp_path / "questions.parquet")
    (tmp_path / "settings.yaml").write_text(SETTINGS)
    first = command(tmp_path, "--until", "score")
    assert first.returncode == 0, first.stderr[-3000:]
    shards = sorted(path.name for path in (tmp_path / "work" / "score").iterdir())
    assert shards == ["00000.jsonl", "00001.jsonl"] and not (tmp_path / "work" / "verify").exists()
    sampled = (tmp_path / "work" / "sample" / "00000.jsonl").stat().st_mtime_ns

    second = command(tmp_path)
    assert second.returncode == 0, second.stderr[-3000:]
    assert (tmp_path / "work" / "sample" / "00000.jsonl").stat().st_mtime_ns == sampled
    rows = parquet.read_table(tmp_path / "work" / "train.parquet").to_pylist()
    answers = {problem.question: problem.answer for problem in problems}
    assert rows and sum(row["weight"] for row in rows) / len(rows) == pytest.approx(1.0)
    for row in rows:
        assert compute_score("", row["response"].removesuffix("<eos>"), answers[row["question"]]) == 1.0

    # Thoughts sampled by vLLM at the temperature are likely under it: the scores are those of these tokens.
    records = [json.loads(line) for line in (tmp_path / "work" / "score" / "00000.jsonl").read_text().splitlines()]
    lengths = torch.tensor([len(thought) for record in records for thought in record["thoughts"]])
    totals = torch.tensor([value for record in records for value in record["posterior"]])
    assert (totals / lengths).mean() > -0.5

    refused = command(tmp_path, "--thoughts", "5")
    assert refused.returncode == 2
    assert "work: it holds results of other inputs (thoughts was 4, now 5)" in " ".join(refused.stderr.split())
