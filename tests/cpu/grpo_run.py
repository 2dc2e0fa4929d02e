"""A whole GRPO run of stock verl's own trainer on a CPU: task and command."""

import random
import sys
from pathlib import Path

import pandas
from support.runs import Run, faults, run, small_batch
from support.tiny_models import make_tiny_model
from transformers import AutoTokenizer

CHAT_TEMPLATE = (
    "{% for message in messages %}w5 {{ message['content'] }} {% endfor %}{% if add_generation_prompt %}w6 {% endif %}"
)
# A dense reward for a random model: the share of "w1..." words among those it wrote.
REWARD = """
def compute_score(data_source, solution_str, ground_truth, extra_info=None):
    words = solution_str.split()
    return sum(word.startswith("w1") for word in words) / max(1, len(words))
"""


def make_task(folder: Path) -> None:
    """Write model, data and reward."""
    model = make_tiny_model(folder / "model", "llama", tied=False)
    tokenizer = AutoTokenizer.from_pretrained(model)
    tokenizer.chat_template = CHAT_TEMPLATE
    tokenizer.save_pretrained(model)
    rng = random.Random(0)
    rows = [
        {
            "data_source": "toy",
            "prompt": [{"role": "user", "content": " ".join(f"w{rng.randrange(10, 300)}" for _ in range(8))}],
            "reward_model": {"style": "rule", "ground_truth": ""},
            "extra_info": {"index": index},
        }
        for index in range(16)
    ]
    pandas.DataFrame(rows).to_parquet(folder / "train.parquet")
    pandas.DataFrame(rows[:4]).to_parquet(folder / "validation.parquet")
    (folder / "reward.py").write_text(REWARD)


def run_grpo(folder: Path, *overrides: str, fault: str, **environment: str) -> Run:
    """Run verl's entry point with the recipe ``cpu`` on the task in ``folder``, struck by ``fault``."""
    command = [
        *(sys.executable, "-m", "verl.trainer.main_ppo", "+softthink=cpu", "algorithm.adv_estimator=grpo"),
        *(f"data.train_files={folder}/train.parquet", f"data.val_files={folder}/validation.parquet"),
        *small_batch(prompts=4, responses=4, micro_batch=8),
        *("data.max_prompt_length=32", "data.max_response_length=16"),
        f"actor_rollout_ref.model.path={folder}/model",
        *("actor_rollout_ref.rollout.max_model_len=1000", "actor_rollout_ref.rollout.max_num_seqs=32"),
        *("actor_rollout_ref.actor.use_kl_loss=True", "actor_rollout_ref.actor.optim.lr=1e-3"),
        f"reward.custom_reward_function.path={folder}/reward.py",
        *("trainer.v1.trainer_mode=watched_sync", "trainer.logger=[console,file]", "trainer.val_before_train=False"),
        *("trainer.total_epochs=4", f"trainer.default_local_dir={folder}/checkpoints", "trainer.resume_mode=disable"),
        *overrides,
    ]
    return run(command, folder, **faults(fault), **environment)
