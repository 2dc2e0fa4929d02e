"""The driver's side of a run in one process: a real tokenizer, model and influence; loops in place of Ray and vLLM."""

import asyncio
import uuid
from types import SimpleNamespace

import numpy as np
import torch
import transfer_queue
from omegaconf import OmegaConf
from oracles.tree_values import advantages as oracle
from support.composing import composed
from transfer_queue import KVBatchMeta
from transformers import AutoModelForCausalLM, AutoTokenizer
from verl.experimental.agent_loop.agent_loop import DictConfigWrap
from verl.trainer.ppo.v1.trainer_sync import PPOTrainerSync
from verl.utils import tensordict_utils as tu
from verl.utils.dataset.rl_dataset import RLHFDataset
from verl.workers.rollout.replica import TokenOutput

from verl_softthink.methods.attnrl.agent_loop import BranchAgentLoop
from verl_softthink.methods.attnrl.fields import ADVANTAGE, BRANCH, INFLUENCE, NODE, ROOT, STEPS
from verl_softthink.methods.attnrl.influence import ForwardContextInfluence
from verl_softthink.methods.attnrl.stage import AttnrlStage
from verl_softthink.methods.attnrl.steps import SteppedSequence
from verl_softthink.pocket import OVERTHINKING, checkpoint_path
from verl_softthink.pocket.data import to_row
from verl_softthink.pocket.reward import compute_score
from verl_softthink.pocket.tasks import generate
from verl_softthink.training.check import check_config

from .memory_queue import MemoryQueue

PATH = checkpoint_path(OVERTHINKING)


class Driver:
    """What ``AttnrlStage`` uses of a trainer, around one model that ``nudge`` moves as an update would."""

    _balance_batch = PPOTrainerSync._balance_batch
    trace_scoring = {}

    def __init__(self, config, queue, model, tokenizer, abort_every=0):
        OmegaConf.resolve(config)
        self.softthink, self.config = check_config(config), config
        self.queue, self.model, self.tokenizer = queue, model, tokenizer
        self.global_steps, self.total_training_steps, self.timing_raw = 1, 2, {}
        self.checkpoint_manager = SimpleNamespace(sleep_replicas=lambda: None, update_weights=lambda version: None)
        self.actor_rollout_wg = SimpleNamespace(_dispatch_info={"actor": [0]})
        self.replay_buffer, self._abort_every, self._asked = self, abort_every, 0
        self._problems = iter(generate("train", 64, 0))
        self._groups: list[str] = []
        self.stage = AttnrlStage(self, self.softthink.attnrl)

    def _get_required_batch_multiple(self, ranks):
        return self.stage.rows_multiple(ranks)

    def _next_train_batch(self, count):
        rows = [to_row(next(self._problems), number) for number in range(count)]
        columns = {name: np.array([row[name] for row in rows], dtype=object) for name in rows[0] if name != "prompt"}
        columns["raw_prompt"] = np.empty(count, dtype=object)
        columns["raw_prompt"][:] = [row["prompt"] for row in rows]
        columns["uid"] = np.array([str(uuid.uuid4()) for _ in rows], dtype=object)
        batch = tu.get_tensordict(columns)
        tu.assign_non_tensor_data(batch, "global_steps", self.global_steps)
        return batch

    def _submit_batch_to_rollout(self, batch):
        """As verl's agent workers do: a row for every session of every prompt."""
        for number in range(len(batch)):
            row = {name: _value(column, number) for name, column in batch.items()}
            self._groups.append(row["uid"])
            for session in range(row.pop("__rollout_n__", self.config.actor_rollout_ref.rollout.n)):
                fields = self._session(row)
                text = self.tokenizer.decode(fields["responses"], skip_special_tokens=True)
                fields["rm_scores"] = torch.zeros(len(fields["responses"]))
                fields["rm_scores"][-1] = compute_score("", text, row["reward_model"]["ground_truth"])
                fields |= row
                fields["loss_mask"] = fields["response_mask"]
                fields["input_ids"] = torch.cat([fields["prompts"], fields["responses"]])
                fields["position_ids"] = torch.arange(len(fields["input_ids"]))
                version = {"min_global_steps": self.global_steps - 1, "max_global_steps": self.global_steps - 1}
                tag = {"seq_len": len(fields["input_ids"]), **version}
                key = f"{row['uid']}_{session}_0"
                self.queue.kv_batch_put([key], "train", tu.list_of_dict_to_tensordict([fields]), [tag])
        return len(batch)

    def _session(self, row):
        if BRANCH in row:
            base = {"trainer_config": DictConfigWrap(self.config), "data_config": DictConfigWrap(self.config.data)}
            loop = BranchAgentLoop(
                **base, server_manager=self, tokenizer=self.tokenizer, processor=None, dataset_cls=RLHFDataset
            )
            return asyncio.run(loop.run({"temperature": 1.0, "logprobs": True}, **row)).as_dict()
        prompt = self.tokenizer.apply_chat_template(
            row["raw_prompt"], add_generation_prompt=True, tokenize=True, return_dict=False
        )
        ids, log_probs = self._sampled(prompt, self.config.data.max_response_length)
        return {
            "prompts": torch.tensor(prompt),
            "responses": torch.tensor(ids),
            "response_mask": torch.ones(len(ids), dtype=torch.int64),
            "rollout_log_probs": torch.tensor(log_probs),
            "num_turns": 2,
            "extra_fields": {},
        }

    async def generate(self, request_id, prompt_ids, sampling_params, priority):
        """As verl's server client; every ``abort_every``-th request comes back empty."""
        self._asked += 1
        if self._abort_every and self._asked % self._abort_every == 0:
            return TokenOutput(token_ids=[], log_probs=None, stop_reason="aborted")
        ids, log_probs = self._sampled(prompt_ids, sampling_params["max_tokens"])
        return TokenOutput(token_ids=ids, log_probs=log_probs, stop_reason="completed")

    @torch.no_grad()
    def _sampled(self, prompt, room):
        found = self.model.generate(
            torch.tensor([prompt]),
            do_sample=True,
            max_new_tokens=room,
            pad_token_id=self.tokenizer.pad_token_id or 0,
            top_k=0,
            return_dict_in_generate=True,
            output_logits=True,
        )
        ids = found.sequences[0, len(prompt) :]
        scores = torch.cat(found.logits).log_softmax(-1).gather(-1, ids[:, None])[:, 0]
        return ids.tolist(), scores.tolist()

    def sample(self, global_steps, partition_id, batch_size):
        """As verl's replay buffer: the rows of all groups that were sent."""
        assert len(self._groups) == batch_size
        groups, self._groups = set(self._groups), []
        keys = [key for key in self.queue.rows if key.split("_")[0] in groups]
        return KVBatchMeta(keys=keys, tags=[self.queue.tags[key] for key in keys], partition_id=partition_id), {}

    @torch.no_grad()
    def old_log_probs(self, batch, metrics):
        """As verl's pass over the actor."""
        for key in batch.keys:
            row = self.queue.rows[key]
            prompt, mask = len(row["prompts"]), row["response_mask"]
            measured = STEPS in row and bool(mask.any())
            sequence = SteppedSequence(0, 0, (prompt, *row[STEPS].tolist())) if measured else None
            if measured:
                with ForwardContextInfluence(self.model, [sequence]) as influence:
                    logits = self.model(row["input_ids"][None]).logits[0, prompt - 1 : -1]
                row[INFLUENCE] = influence.values[0][1:]
            else:
                logits = self.model(row["input_ids"][None]).logits[0, prompt - 1 : -1]
                row |= {INFLUENCE: torch.zeros(len(row[STEPS]))} if STEPS in row else {}
            scores = logits.log_softmax(-1)
            row["old_log_probs"] = scores.gather(-1, row["responses"][:, None])[:, 0]
            row["entropy"] = torch.special.entr(scores.exp()).sum(-1)
        return batch

    def step(self, metrics):
        """One step up to the actor's update: the batch that is trained."""
        batch, _ = self.sample(self.global_steps, "train", self.stage.submit())
        batch.extra_info["temperature"] = 1.0
        batch = self._balance_batch(batch, metrics)
        batch = self.stage.before_old_log_prob(batch, metrics)
        batch = self.stage.after_old_log_prob(self.old_log_probs(batch, metrics), metrics)
        for key in batch.keys:
            row = self.queue.rows[key]
            row |= {name: torch.zeros(len(row["responses"])) for name in ("advantages", "returns")}
        return self.stage.after_advantage(batch, metrics)

    def nudge(self):
        """Move the model a little."""
        generator = torch.Generator().manual_seed(0)
        with torch.no_grad():
            for parameter in self.model.parameters():
                parameter += 0.01 * parameter.std() * torch.randn(parameter.shape, generator=generator)
        self.global_steps += 1


def _value(column, number):
    if isinstance(column, torch.Tensor):
        return column[number]
    return column[number].data if column.shape else column.data


def on_driver(kind: type[Driver], monkeypatch, recipes: str, *overrides: str, **arguments) -> Driver:
    """A driver of class ``kind`` around the overthinking pocket reasoner; micro-batches of 2, a queue in memory."""
    queue = MemoryQueue()
    for name in ("kv_batch_put", "kv_batch_get", "kv_clear"):
        monkeypatch.setattr(transfer_queue, name, getattr(queue, name))
    model = AutoModelForCausalLM.from_pretrained(PATH, dtype=torch.float32).eval()
    config = composed(
        [
            *(f"+softthink=[cpu,{recipes}]", f"actor_rollout_ref.model.path={PATH}", "data.max_prompt_length=32"),
            *(f"actor_rollout_ref.{name}_micro_batch_size_per_gpu=2" for name in ("actor.ppo", "rollout.log_prob")),
            "actor_rollout_ref.ref.log_prob_micro_batch_size_per_gpu=2",
            *("actor_rollout_ref.actor.ppo_mini_batch_size=2", "softthink.attnrl.spacing=6"),
        ],
        *overrides,
    )
    torch.manual_seed(1)
    return kind(config, queue, model, AutoTokenizer.from_pretrained(PATH), **arguments)


def rows_of_prompts(run: Driver, batch: KVBatchMeta) -> list[list[dict]]:
    """The real rows of every prompt."""
    prompts: dict[str, list] = {}
    for key, tag in zip(batch.keys, batch.tags, strict=True):
        if not tag.get("is_padding", False):
            prompts.setdefault(key.split("_")[0], []).append(run.queue.rows[key])
    return list(prompts.values())


def check_advantages(rows: list[dict]) -> None:
    """The advantages of one prompt's rows are those of an oracle that knows their leaves alone."""
    root, everyone, apart = rows[0][ROOT].tolist()
    assert everyone == len(rows) + apart
    rewards = [float(row["rm_scores"].sum()) for row in rows]
    right = round(root * everyone) - sum(rewards)
    counted = [((-1 - place,), float(place < right)) for place in range(round(apart))]
    leaves = [(tuple(enumerate(row[NODE].tolist())), reward) for row, reward in zip(rows, rewards, strict=True)]
    for row, wanted in zip(rows, oracle(leaves, counted), strict=True):
        torch.testing.assert_close(row["advantages"], torch.tensor(wanted), rtol=0, atol=1e-5)
        assert torch.equal(row["returns"], row[ADVANTAGE])
