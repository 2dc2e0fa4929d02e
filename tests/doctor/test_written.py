"""What the doctor would ask a model, and what it says of the responses; the engine itself is in ``test_doctor.py``."""

from dataclasses import replace

import pytest
from methods.test_responses import MARKER, responses
from support.composing import composed

from doctor.broken_installs import sound
from verl_softthink.data.parquet import training_row, write_rows
from verl_softthink.doctor.findings import Status
from verl_softthink.doctor.sampling import BUILT_IN, MOST_TOKENS, PROMPTS, built_in, configured
from verl_softthink.doctor.written import marker_finding, method_findings
from verl_softthink.methods.settings import parse_node
from verl_softthink.pocket import checkpoint_path
from verl_softthink.training.check import check_config


def _row(number: int) -> dict:
    chat = [{"role": "user", "content": f"{number}+1"}]
    return training_row(source="pocket", messages=chat, answer=str(number), split="train", index=number, question="")


@pytest.fixture(scope="module")
def asked(tmp_path_factory):
    """A function: recipes and overrides of a sound command line, to what would be sampled."""
    folder = tmp_path_factory.mktemp("asked")
    lines = sound(folder)[1:]
    write_rows([_row(number) for number in range(2 * PROMPTS)], folder / "chats.parquet")

    def ask(recipes: str, *overrides: str, model: str | None = None, chats: bool = True):
        data = f"data.train_files={folder / ('chats.parquet' if chats else 'rows.jsonl')}"
        config = composed([f"+softthink=[cpu,{recipes}]"], *lines, data, *overrides)
        return configured(model, config, check_config(config))

    return ask


def test_the_runs_own_prompts_and_settings_are_asked(asked):
    sampling = asked("soft_grpo", "softthink.law.tau=0.2", "actor_rollout_ref.rollout.temperature=0.7")
    assert [messages[0]["content"] for messages in sampling.prompts] == ["0+1", "1+1", "2+1", "3+1"]
    assert list(sampling.answers) == ["0", "1", "2", "3"] and "first 4 prompts of" in sampling.source
    assert (sampling.tokens, sampling.prompt_tokens, sampling.model) == (64, 32, str(checkpoint_path()))
    assert sampling.parameters == {"temperature": 0.7, "top_p": 1.0, "top_k": -1}
    request = sampling.extra_args(3)["softthink"]
    assert (request["law"]["tau"], request["seed"]) == (0.2, 3)
    assert sampling.engine["kv_cache_memory_bytes"] == 256 * 2**20
    assert sampling.additional_config["softthink"] == {"max_candidates": 5, "carries_embeddings": False}
    assert asked("soft_grpo", model="other").model == "other"


def test_without_chats_to_read_built_in_questions_are_asked(asked):
    for sampling in (asked("repro", chats=False), asked("repro", "data.train_files=hdfs://cluster/train.parquet")):
        assert len(sampling.prompts) == len(BUILT_IN) and sampling.source == "4 built-in questions"
        # No law: ordinary tokens.
        assert sampling.extra_args(0) == {}


def test_a_budget_beyond_what_is_sampled_is_left_out(asked):
    long = asked("soft_grpo", "data.max_response_length=2048", "softthink.phase.budget=1024")
    assert long.tokens == MOST_TOKENS and long.extra_args(0)["softthink"]["phase"]["budget"] is None
    assert asked("soft_grpo", "softthink.phase.budget=32").extra_args(0)["softthink"]["phase"]["budget"] == 32


@pytest.mark.parametrize(
    ("reasons", "status", "said"),
    [
        (["marker", "none"], Status.ok, "1 of the 2 responses of the first step wrote '</think>' by themselves."),
        (["budget", "budget"], Status.ok, "'</think>' by themselves; thinking was ended 2 by budget."),
        (["none", "budget"], Status.warning, "closes with 'and that is all'"),
        (["none", "none"], Status.warning, "set softthink.phase.budget (is None) below the length of its responses"),
    ],
)
def test_how_many_wrote_the_marker(reasons, status, said):
    finding = marker_finding(reasons, responses("and that is all", "and that is all"), built_in("model"))
    assert finding.status is status and said in finding.text


def test_what_methods_look_for():
    both = replace(built_in("model"), settings=parse_node({"repro": {}, "attnrl": {}}))
    (found,) = method_findings(responses(f"a.\nb{MARKER}\\boxed{{4}}"), both)
    assert found.status is Status.ok and "contain what softthink.attnrl, softthink.repro look for" in found.text
    lacking = method_findings(responses("ab"), both)
    assert len(lacking) == 4 and {finding.status for finding in lacking} == {Status.warning}
    assert method_findings(responses("ab"), built_in("model")) == []
