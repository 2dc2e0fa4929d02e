"""Which prompts are sent when, with verl's own data loading; a resumed run goes on where the stopped one was."""

import io
from types import SimpleNamespace

import pytest
import torch
from omegaconf import OmegaConf
from torchdata.stateful_dataloader import StatefulDataLoader
from transfer_queue import KVBatchMeta
from verl.trainer.ppo.v1.trainer_sync import PPOTrainerSync
from verl.utils.dataset.rl_dataset import collate_fn

from verl_softthink.config.settings import SoftThinkSettings
from verl_softthink.methods.attnrl.fields import BRANCH, PREFIX_IDS
from verl_softthink.methods.attnrl.plan import Branch
from verl_softthink.methods.attnrl.rollout import Rollout
from verl_softthink.methods.attnrl.samples import PromptSamples, Sample
from verl_softthink.methods.attnrl.schedule import OneStepOffPolicy, StepByStep

PROMPTS = 2


class Trainer:
    """The driver's side of a run: verl's data loading, and a record of what is sent instead of a rollout."""

    _fetch_one_gen_batch = PPOTrainerSync._fetch_one_gen_batch
    _next_train_batch = PPOTrainerSync._next_train_batch

    def __init__(self, total=4, step=1, data=None):
        rows = [{"raw_prompt": [{"role": "user", "content": str(n)}], "index": n} for n in range(40)]
        generator = torch.Generator().manual_seed(3)
        sampler = torch.utils.data.RandomSampler(rows, generator=generator)
        self.train_dataloader = StatefulDataLoader(rows, batch_size=1, collate_fn=collate_fn, sampler=sampler)
        if data is not None:
            self.train_dataloader.load_state_dict(data)
        self.train_dataloader_it = None
        self.config = OmegaConf.create(
            {"data": {"gen_batch_size": 1, "train_batch_size": PROMPTS}, "actor_rollout_ref": {"rollout": ENGINE}}
        )
        self.global_steps, self.total_training_steps, self.timing_raw = step, total, {}
        self.checkpoint_manager = SimpleNamespace(sleep_replicas=lambda: None, update_weights=lambda version: None)
        self.replay_buffer = self
        self.softthink = SoftThinkSettings()
        self.sent: list[list] = []

    def _submit_batch_to_rollout(self, batch):
        cuts = [None] * len(batch)
        if BRANCH in batch:
            cuts = [len(branch[PREFIX_IDS]) for branch in list(batch[BRANCH])]
        self.sent.append(list(zip(list(batch["index"]), cuts, strict=True)))
        self._last = list(batch["uid"])
        return len(batch)

    def sample(self, global_steps, partition_id, batch_size):
        return KVBatchMeta(keys=[f"{uid}_0_0" for uid in self._last], tags=[{}] * batch_size, partition_id="train"), {}

    def _balance_batch(self, batch, metrics):
        return batch


ENGINE = {"free_cache_engine": False, "temperature": 1.0}


def planned(batch, prompts, metrics):
    """One branch of every prompt, cut at its index plus one, so that a branch shows which prompt it belongs to."""
    found = []
    for place, (uid, index) in enumerate(zip(list(prompts["uid"]), list(prompts["index"]), strict=True)):
        row = {"prompts": torch.ones(1), "responses": torch.arange(100)}
        found.append(PromptSamples(uid, place, [Sample(row, {})], [], [], [Branch(0, index + 1)]))
    return found


@pytest.fixture
def schedule(monkeypatch):
    def make(kind, trainer):
        rollout = Rollout(trainer)
        monkeypatch.setattr(rollout, "take", lambda prompts, batch: None)
        monkeypatch.setattr(rollout, "without_padding", lambda batch, others: batch)
        return kind(trainer, rollout, planned)

    return make


def run(trainer, schedule, steps):
    """The numbers of the prompts that each step trains."""
    trained = []
    for _ in range(steps):
        schedule.submit(PROMPTS)
        trained.append([prompt.branches[0].cut - 1 for prompt in schedule.finish(None, {})])
        trainer.global_steps += 1
    return trained


def numbers(sent):
    return [number for number, _ in sent]


def test_one_call_a_step_holds_this_steps_branches_and_the_next_steps_prompts(schedule):
    trainer = Trainer()
    trained = run(trainer, schedule(OneStepOffPolicy, trainer), 4)
    first, *calls = trainer.sent
    assert numbers(first) == trained[0]
    # Branches of a step, then prompts of the next one; none behind the last step.
    assert [numbers(call) for call in calls] == [
        *(trained[0], trained[1]),
        *(trained[1], trained[2]),
        *(trained[2], trained[3]),
        trained[3],
    ]
    assert [cut is None for call in calls for _, cut in call] == ([False] * 2 + [True] * 2) * 3 + [False] * 2
    assert all(cut == number + 1 for call in calls for number, cut in call if cut is not None)


def test_both_schedules_train_the_same_prompts_in_the_same_order(schedule):
    one, two = Trainer(), Trainer()
    assert run(one, schedule(OneStepOffPolicy, one), 4) == run(two, schedule(StepByStep, two), 4)


@pytest.mark.parametrize("kind", [StepByStep, OneStepOffPolicy])
@pytest.mark.parametrize("continued_as", [StepByStep, OneStepOffPolicy])
def test_a_resumed_run_keeps_the_order_of_the_data(schedule, kind, continued_as):
    whole = Trainer()
    wanted = run(whole, schedule(kind, whole), 4)
    stopped = Trainer()
    before = schedule(kind, stopped)
    assert run(stopped, before, 2) == wanted[:2]
    file = io.BytesIO()
    torch.save((before.untrained, stopped.train_dataloader.state_dict()), file)
    file.seek(0)
    untrained, data = torch.load(file, weights_only=False)
    resumed = Trainer(step=3, data=data)
    after = schedule(continued_as, resumed)
    after.untrained = untrained
    assert run(resumed, after, 2) == wanted[2:]
