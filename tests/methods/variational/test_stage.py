"""The stage on a real TransferQueue: rows as the agent loop writes them, verl's padding row, the pocket reasoner's own
likelihoods, both kinds of step."""

from types import SimpleNamespace

import numpy
import pytest
import torch
from omegaconf import OmegaConf

from verl_softthink.methods.variational.fields import (
    FROM_MODEL,
    HINT_TEXT,
    OTHER_LOG_PROBS,
    OTHER_PROMPT,
    THOUGHT,
    WEIGHT,
)
from verl_softthink.methods.variational.settings import VariationalSettings

ray = pytest.importorskip("ray")
pytestmark = pytest.mark.verl

CONFIG = {"actor_rollout_ref": {"rollout": {"temperature": 1.0}}}
PARTITION = "train"
#: Question, response, reward, rolled out without the hint. The second question has no right answer, and the first has
#: three responses, so that verl pads the batch.
ROWS = [
    ("7+8*3", "7+8=5;5*3=5</think>5", 1.0, True),
    ("7+8*3", "7+8=5;5*3=6</think>6", 0.0, False),
    ("7+8*3", "7+8=5</think>5", 1.0, False),
    ("2*9-4", "2*9=8;8-4=3</think>3", 0.0, True),
    ("2*9-4", "2*9=8</think>8", 0.0, False),
]
HINTS = {"7+8*3": "7+8=5;5*3=5", "2*9-4": "2*9=8;8-4=4"}


@pytest.fixture(scope="module")
def queue():
    import transfer_queue

    ray.init(num_cpus=8, include_dashboard=False, object_store_memory=100_000_000, logging_level="ERROR")
    transfer_queue.init(OmegaConf.create({"backend": {"SimpleStorage": {"num_data_storage_units": 1}}}))
    yield transfer_queue
    transfer_queue.close()
    ray.shutdown()


@torch.no_grad()
def next_token_log_probs(model, ids):
    """[S], position t scoring token t + 1, as verl's engines give them."""
    log_probs = model(ids[None]).logits[0].log_softmax(-1)
    return log_probs.gather(-1, ids.roll(-1)[:, None])[:, 0]


def log_probs_after(model, prompt, response):
    return next_token_log_probs(model, torch.cat((prompt, response)))[-len(response) - 1 : -1]


class Workers:
    """The actor's side of a log-prob pass: reads the batch from the queue, puts ``log_probs`` beside it."""

    def __init__(self, queue, model):
        self.queue, self.model = queue, model

    def compute_log_prob(self, batch):
        from tensordict import TensorDict

        assert batch.extra_info["temperature"] == 1.0 and not batch.extra_info["calculate_entropy"]
        data = self.queue.kv_batch_get_by_meta(batch)
        assert all((p == torch.arange(len(p))).all() for p in data["position_ids"].unbind())
        rows = [next_token_log_probs(self.model, ids) for ids in data["input_ids"].unbind()]
        fields = {"log_probs": torch.nested.as_nested_tensor(rows, layout=torch.jagged)}
        self.queue.kv_batch_put(
            keys=batch.keys, partition_id=batch.partition_id, fields=TensorDict(fields, batch_size=len(rows))
        )
        return batch


@pytest.fixture
def batch_of(queue, model, tokenizer):
    """Puts the rows into the queue and pads them; ``hinted`` rows are trained on the prompt with the hint."""
    from transfer_queue import KVBatchMeta
    from verl.trainer.ppo.padding_utils import upsample_batch_to_divisible_size
    from verl.utils.tensordict_utils import list_of_dict_to_tensordict

    used = []

    def put(*, hinted):
        fields, keys, tags = [], [], []
        for number, (question, text, reward, from_model) in enumerate(ROWS):
            chats = [question, f"{question}|{HINTS[question]}"]
            plain, with_hint = (torch.tensor(tokenizer.encode(f"<user>{chat}<assistant><think>")) for chat in chats)
            prompt, other = (with_hint, plain) if hinted else (plain, with_hint)
            response = torch.tensor(tokenizer.encode(text) + [tokenizer.eos_token_id])
            mask = torch.ones_like(response)
            fields.append(
                {
                    "uid": question,
                    "prompts": prompt,
                    "responses": response,
                    "response_mask": mask,
                    "loss_mask": mask,
                    "input_ids": torch.cat((prompt, response)),
                    "position_ids": torch.arange(len(prompt) + len(response)),
                    OTHER_PROMPT: other,
                    THOUGHT: mask,
                    "rm_scores": torch.zeros(len(response)).index_fill(0, torch.tensor([len(response) - 1]), reward),
                    "rollout_log_probs": log_probs_after(model, plain if from_model or hinted else with_hint, response),
                    "old_log_probs": log_probs_after(model, prompt, response),
                    "num_turns": 2,
                    "reward_model": {"ground_truth": HINTS[question][-1]},
                    "extra_fields": {FROM_MODEL: from_model or hinted, HINT_TEXT: HINTS[question]},
                }
            )
            keys.append(f"{question}_{number}_0")
            tags.append({"seq_len": len(prompt) + len(response), "prompt_len": len(prompt), "status": "success"})
        queue.kv_batch_put(keys=keys, partition_id=PARTITION, fields=list_of_dict_to_tensordict(fields), tags=tags)
        batch = KVBatchMeta(partition_id=PARTITION, keys=keys, tags=tags)
        batch = upsample_batch_to_divisible_size(batch, 6, tokenizer.eos_token_id)
        assert len(batch.keys) == 6
        used.extend(batch.keys)
        return batch

    yield put
    queue.kv_clear(keys=list(dict.fromkeys(used)), partition_id=PARTITION)


def run_stage(queue, model, tokenizer, batch, *, step, **settings):
    from verl_softthink.methods.variational.stage import VariationalStage

    trainer = SimpleNamespace(
        tokenizer=tokenizer, actor_rollout_wg=Workers(queue, model), global_steps=step, config=OmegaConf.create(CONFIG)
    )
    stage = VariationalStage(trainer, VariationalSettings(**settings))
    metrics = {"training/rollout_probs_diff_mean": 1.0}
    stage.after_advantage(stage.after_old_log_prob(batch, metrics), metrics)
    keys = [key for key, tag in zip(batch.keys, batch.tags, strict=True) if not tag.get("is_padding")]
    names = ["advantages", "returns", WEIGHT, OTHER_LOG_PROBS, "old_log_probs", "responses"]
    data = queue.kv_batch_get(keys=keys, partition_id=PARTITION, select_fields=names)
    assert [key.split("_")[1] for key in keys] == [str(number) for number in range(len(ROWS))]
    return metrics, {name: data[name].unbind() for name in names}


@pytest.mark.parametrize("importance", ["length_normalised", "exact"])
def test_an_ordinary_step(queue, model, tokenizer, batch_of, importance):
    batch = batch_of(hinted=False)
    metrics, data = run_stage(
        queue, model, tokenizer, batch, step=1, importance=importance, model_share=0.5, posterior_every=2
    )
    rho = []
    for number, (question, text, reward, _) in enumerate(ROWS):
        response = torch.tensor(tokenizer.encode(text) + [tokenizer.eos_token_id])
        chats = [f"<user>{question}{tail}<assistant><think>" for tail in ("", f"|{HINTS[question]}")]
        pi, q = (log_probs_after(model, torch.tensor(tokenizer.encode(chat)), response).double() for chat in chats)
        torch.testing.assert_close(data[OTHER_LOG_PROBS][number].double(), q, rtol=0, atol=1e-4)
        ratio = pi.sum() - torch.log(0.5 * pi.sum().exp() + 0.5 * q.sum().exp())
        rho.append(reward * (ratio / (len(response) if importance == "length_normalised" else 1)).exp().item())
    rho = numpy.array(rho)
    weights = numpy.concatenate((rho[:3] / rho[:3].sum(), [0, 0]))
    for number, weight in enumerate(weights):
        torch.testing.assert_close(
            data[WEIGHT][number], torch.full((len(data["responses"][number]),), weight, dtype=torch.float32)
        )
        assert data["advantages"][number].tolist() == pytest.approx([3 * weight] * len(data["responses"][number]))
    prefix = "softthink/variational/"
    assert metrics[f"{prefix}effective_sample_size/mean"] == pytest.approx(1 / (weights**2).sum(), rel=1e-4)
    assert metrics[f"{prefix}dropped_groups"] == 0.5
    assert metrics[f"{prefix}proposal_log_prob_gap"] < 1e-5
    assert metrics[f"{prefix}accuracy/model"] == 0.5
    assert metrics[f"{prefix}accuracy/posterior"] == pytest.approx(1 / 3)
    assert metrics[f"{prefix}leakage/copied_fraction/model"] > metrics[f"{prefix}leakage/copied_fraction/posterior"]
    assert "training/rollout_probs_diff_mean" not in metrics


def test_a_posterior_step(queue, model, tokenizer, batch_of):
    metrics, data = run_stage(queue, model, tokenizer, batch_of(hinted=True), step=2, posterior_every=2)
    assert [row[0].item() for row in data[WEIGHT]] == pytest.approx([0.5, 0, 0.5, 0, 0])
    assert metrics["softthink/variational/posterior_step/proposal_log_prob_gap"] < 1e-5
    assert "softthink/variational/posterior_step/accuracy/posterior" not in metrics
