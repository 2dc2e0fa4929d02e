"""The stage: what it asks of the passes, and the advantages that soft positions keep."""

from types import SimpleNamespace

import pytest
import torch
import transfer_queue
from omegaconf import OmegaConf
from tensordict import TensorDict

from methods.attnrl.memory_queue import MemoryQueue
from verl_softthink.batch import jagged
from verl_softthink.likelihood.fields import SOFT
from verl_softthink.methods.thought_anchor.fields import LOSS, WANTED
from verl_softthink.methods.thought_anchor.settings import ThoughtAnchorSettings
from verl_softthink.methods.thought_anchor.stage import ThoughtAnchorStage

ACTOR = {"loss_agg_mode": "token-mean", "loss_scale_factor": None}


def stage(**settings) -> ThoughtAnchorStage:
    config = OmegaConf.create({"actor_rollout_ref": {"actor": ACTOR}})
    return ThoughtAnchorStage(SimpleNamespace(config=config), ThoughtAnchorSettings(**settings))


@pytest.fixture
def batch(monkeypatch):
    """Two responses, and a padding row: a copy whose trace has another length."""
    queue = MemoryQueue()
    for name in ("kv_batch_put", "kv_batch_get"):
        monkeypatch.setattr(transfer_queue, name, getattr(queue, name))
    fields = {
        "advantages": jagged([torch.full((4,), 2.0), torch.full((2,), -1.0), torch.full((1,), 2.0)]),
        SOFT: jagged([torch.tensor([1, 1, 0, 0]).bool(), torch.tensor([1, 0]).bool(), torch.ones(4).bool()]),
    }
    tags = [{}, {}, {"is_padding": True}]
    written = queue.kv_batch_put(["a_0_0", "a_1_0", "p_0_0"], "train", TensorDict(fields, batch_size=3), tags)
    return SimpleNamespace(queue=queue, written=written)


@pytest.mark.parametrize(
    ("weight", "expected"),
    [(0.0, [[0, 0, 2, 2], [0, -1]]), (0.25, [[0.5, 0.5, 2, 2], [-0.25, -1]]), (1.0, [[2] * 4, [-1] * 2])],
)
def test_advantages_are_weighed_at_soft_positions_alone(weight, expected, batch):
    metrics = {}
    assert stage(advantage_weight=weight).after_advantage(batch.written, metrics) is batch.written
    rows = batch.queue.rows
    assert [rows[key]["advantages"].tolist() for key in ("a_0_0", "a_1_0")] == expected
    assert rows["p_0_0"]["advantages"].tolist() == [2.0] and metrics == {}


def test_the_reference_is_asked_for_tokens_and_training_for_the_term_where_there_is_a_coefficient():
    on, off = stage(coefficient=0.5, tokens=7), stage(coefficient=0)
    assert on.reference_settings == {WANTED: 7} and on.pass_settings == {LOSS: {"coefficient": 0.5} | ACTOR}
    assert off.reference_settings == {} and off.pass_settings == {}
