"""A whole GRPO run of stock verl on a CPU: task, command and what it left behind."""

import json
import os
import random
import subprocess
import sys
import uuid
from dataclasses import dataclass
from pathlib import Path

import pandas
import psutil
from support.tiny_models import make_tiny_model
from transformers import AutoTokenizer

HERE = Path(__file__).parent
CHAT_TEMPLATE = (
    "{% for message in messages %}w5 {{ message['content'] }} {% endfor %}{% if add_generation_prompt %}w6 {% endif %}"
)
# A dense reward for a random model: the share of "w1..." words among those it wrote.
REWARD = """
def compute_score(data_source, solution_str, ground_truth, extra_info=None):
    words = solution_str.split()
    return sum(word.startswith("w1") for word in words) / max(1, len(words))
"""
MARK = "SOFTTHINK_TEST_RUN"


@dataclass(frozen=True)
class Run:
    """How a run ended."""

    returncode: int
    log: str
    metrics: dict[int, dict]
    mark: str

    def survivors(self) -> list[psutil.Process]:
        """Processes of the run that do not end by themselves once its main process is gone."""
        found = []
        for process in psutil.process_iter():
            try:
                if process.environ().get(MARK) == self.mark and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
            except psutil.Error:
                continue
        _, alive = psutil.wait_procs(found, timeout=60)
        return alive


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


def run_grpo(folder: Path, *overrides: str, timeout_s: float = 560, **environment: str) -> Run:
    """Run verl's entry point with the recipe ``cpu`` on the task in ``folder``."""
    mark = uuid.uuid4().hex
    metrics = folder / f"{mark}.jsonl"
    command = [
        *(sys.executable, "-m", "verl.trainer.main_ppo", "+softthink=cpu", "algorithm.adv_estimator=grpo"),
        *(f"data.train_files={folder}/train.parquet", f"data.val_files={folder}/validation.parquet"),
        *("data.train_batch_size=4", "data.max_prompt_length=32", "data.max_response_length=16"),
        *(f"actor_rollout_ref.model.path={folder}/model", "actor_rollout_ref.rollout.n=4"),
        *("actor_rollout_ref.rollout.max_model_len=1000", "actor_rollout_ref.rollout.max_num_seqs=32"),
        *("actor_rollout_ref.actor.use_kl_loss=True", "actor_rollout_ref.actor.optim.lr=1e-3"),
        *("actor_rollout_ref.actor.ppo_mini_batch_size=4", "actor_rollout_ref.actor.ppo_micro_batch_size_per_gpu=8"),
        "actor_rollout_ref.rollout.log_prob_micro_batch_size_per_gpu=8",
        "actor_rollout_ref.ref.log_prob_micro_batch_size_per_gpu=8",
        f"reward.custom_reward_function.path={folder}/reward.py",
        *("trainer.v1.trainer_mode=watched_sync", "trainer.logger=[console,file]", "trainer.val_before_train=False"),
        *("trainer.total_epochs=4", f"trainer.default_local_dir={folder}/checkpoints", "trainer.resume_mode=disable"),
        *overrides,
    ]
    settings = {
        "VERL_PLATFORM": "cpu",
        "VERL_USE_EXTERNAL_MODULES": "watched_trainer",
        "PYTHONPATH": os.pathsep.join(filter(None, [str(HERE), os.environ.get("PYTHONPATH")])),
        "VERL_FILE_LOGGER_PATH": str(metrics),
        "WATCH_SILENCE_S": "60",
        "OMP_NUM_THREADS": "1",
        "HF_HUB_OFFLINE": "1",
        "RAY_USAGE_STATS_ENABLED": "0",
        MARK: mark,
        **environment,
    }
    log = folder / f"{mark}.log"
    with log.open("w") as stream:
        done = subprocess.run(
            command,
            env={**os.environ, **settings},
            stdout=stream,
            stderr=subprocess.STDOUT,
            timeout=timeout_s,
            cwd=folder,
        )
    lines = metrics.read_text().splitlines() if metrics.exists() else []
    return Run(done.returncode, log.read_text(), {row["step"]: row["data"] for row in map(json.loads, lines)}, mark)
