"""A first step that teaches nothing is named once; one that teaches something is silent."""

import logging
from types import SimpleNamespace

import pytest
import torch
import transfer_queue
from methods.attnrl.memory_queue import MemoryQueue
from methods.test_responses import MARKER, responses
from omegaconf import OmegaConf
from tensordict import TensorDict
from transformers import AutoTokenizer
from verl.utils.tensordict_utils import list_of_dict_to_tensordict

from training.test_metrics import LAW, batch
from verl_softthink.methods.settings import parse_node
from verl_softthink.pocket import checkpoint_path
from verl_softthink.training.first_step import NEARLY_ALL, UNENDED, FirstStep, doubts, no_signal, unended_thoughts
from verl_softthink.training.metrics import soft_metrics

CONFIG = OmegaConf.create({"data": {"max_response_length": 48}})
SOFT = {"law": {"name": "gumbel"}}


@pytest.mark.parametrize(("share", "said"), [(1.0, True), (NEARLY_ALL, True), (0.5, False)])
def test_thoughts_that_never_end(share, said):
    found = unended_thoughts({UNENDED: share, "softthink/thinking_length/mean": 31.4}, CONFIG, parse_node(SOFT))
    assert len(found) == said
    for sentence in found:
        assert sentence.startswith(f"softthink/end_reason/none={share:.2f}: ")
        for part in ("softthink.phase.end_of_thinking='</think>'", "31 positions", "softthink.phase.budget (is None)"):
            assert part in sentence
        assert "data.max_response_length=48" in sentence and "verl-softthink doctor --deep --model" in sentence


def test_the_metrics_that_it_reads_are_those_of_soft_rollouts():
    assert {UNENDED, "softthink/thinking_length/mean"} <= set(soft_metrics(batch(), LAW))
    assert unended_thoughts({}, CONFIG, parse_node({"repro": {}})) == []


@pytest.mark.parametrize(
    ("scores", "advantages", "sign"),
    [
        ([0.0, 0.0, 0.0], [0.0], "the reward of all 3 responses of the first step is 0: none is better"),
        ([-0.5, -0.5], [0.3], "the reward of all 2 responses of the first step is -0.5: "),
        ([0.0, 0.0, 1.0, 1.0], [0.0], "rewards of its 4 responses lie between 0 and 1: those to one prompt are all"),
        ([0.0, 1.0], [0.0, -0.7], None),
    ],
)
def test_rewards_that_tell_nothing_apart(scores, advantages, sign):
    found = no_signal(responses(*"abcd"[: len(scores)], scores=scores), torch.tensor(advantages), {})
    assert len(found) == (sign is not None)
    assert all(sign in sentence and "reward.custom_reward_function" in sentence for sentence in found)


def test_a_grader_that_failed_is_named():
    (sentence,) = no_signal(responses("a", scores=[0.0]), torch.zeros(1), {"softthink/grader_failures": 1.0})
    assert "softthink/grader_failures=1" in sentence


def test_what_several_methods_miss_is_said_once():
    settings = parse_node({"repro": {}, "variational": {"resampled_answers": 2}, "attnrl": {}})
    shown = responses("ab", "\\boxed{4}", scores=[0.0, 1.0])
    found = doubts(shown, torch.ones(1), {}, CONFIG, settings)
    keys = [sentence.partition("=")[0].partition(": ")[0] for sentence in found]
    assert keys == [
        "softthink.attnrl.separators",
        "softthink.phase.end_of_thinking",
        "softthink.repro.delimiters",
        "softthink.phase.end_of_thinking",
    ]
    soft = parse_node({**SOFT, "repro": {"delimiters": ["b"]}})
    assert doubts(responses("abc\\boxed{4}", "", scores=[0.0, 1.0]), torch.ones(1), {}, CONFIG, soft) == []


def test_the_first_batch_alone_is_read_and_each_sentence_logged_once(monkeypatch, caplog):
    queue = MemoryQueue()
    for name in ("kv_batch_put", "kv_batch_get"):
        monkeypatch.setattr(transfer_queue, name, getattr(queue, name))
    tokenizer = AutoTokenizer.from_pretrained(checkpoint_path())
    ids = torch.tensor(tokenizer.encode(f"7+8=5{MARKER}5", add_special_tokens=False))

    def put(step: int, scores: list[float]):
        rows = [
            {
                "responses": ids,
                "rm_scores": torch.nn.functional.one_hot(torch.tensor(len(ids) - 1), len(ids)) * score,
                "reward_model": {"ground_truth": "5"},
                "advantages": torch.full((len(ids),), score - sum(scores) / len(scores)),
            }
            for score in scores
        ]
        # The last row is one of verl's padding rows, and would be a reward of its own.
        tags = [{"is_padding": number == len(rows) - 1} for number in range(len(rows))]
        keys = [f"u{step}_{number}_0" for number in range(len(rows))]
        return queue.kv_batch_put(keys, "train", list_of_dict_to_tensordict(rows), tags)

    trainer = SimpleNamespace(
        tokenizer=tokenizer, softthink=parse_node({"repro": {"answer": "{answer}"}}), config=CONFIG
    )
    first = FirstStep(trainer)
    with caplog.at_level(logging.WARNING):
        batch_of_step = put(1, [1.0, 1.0, 0.0])
        first.see(batch_of_step)
        first.report(batch_of_step, {})
    said = [record.getMessage() for record in caplog.records]
    assert [text.partition(":")[0] for text in said] == [
        "the reward of all 2 responses of the first step is 1",
        "softthink.repro.delimiters=['\\n\\n', '.\\n', '?\\n', '.\\n\\n', '?\\n\\n']",
    ]
    assert all(record.levelno == logging.WARNING for record in caplog.records)
    caplog.clear()
    second = put(2, [0.0, 0.0, 0.0])
    first.see(second)
    first.report(second, {})
    assert caplog.records == [] and isinstance(queue.kv_batch_get(second.keys, "train"), TensorDict)
