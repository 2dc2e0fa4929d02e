"""The plugin in a verl script that you already have: what one added override changes, and whether it will run.

python examples/08_existing_script.py

``STOCK`` stands for your command line of plain GRPO. ``+softthink=soft_grpo`` is all that is added; everything that you
set yourself stays, and every key of the recipe can be overridden after it.
"""

import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from verl_softthink.pocket import checkpoint_path
from verl_softthink.pocket.data import main as pocket_data
from verl_softthink.standalone import choose_platform, has_accelerator

STOCK = [
    "algorithm.adv_estimator=grpo",
    f"actor_rollout_ref.model.path={checkpoint_path()}",
    "data.max_prompt_length=32",
    "data.max_response_length=64",
    "data.train_batch_size=16",
    "actor_rollout_ref.rollout.n=8",
    "actor_rollout_ref.actor.ppo_mini_batch_size=16",
    "actor_rollout_ref.actor.ppo_micro_batch_size_per_gpu=16",
    "actor_rollout_ref.rollout.log_prob_micro_batch_size_per_gpu=16",
    "actor_rollout_ref.ref.log_prob_micro_batch_size_per_gpu=16",
]


def flat(node: dict, prefix: str = "") -> dict[str, object]:
    """Dotted keys."""
    leaves: dict[str, object] = {}
    for key, value in node.items():
        leaves |= flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return leaves


choose_platform()
import verl  # noqa: E402, F401  (loads the plugin, which registers the recipes)
from hydra import compose, initialize_config_module  # noqa: E402
from omegaconf import OmegaConf  # noqa: E402

# On a CPU any verl run needs the recipe `cpu`; it is in both, so that only the method differs.
cpu = [] if has_accelerator() else ["cpu"]
with initialize_config_module("verl.trainer.config", version_base=None):
    before, after = (
        flat(OmegaConf.to_container(compose("ppo_trainer", overrides=[f"+softthink=[{','.join(recipes)}]", *STOCK])))
        for recipes in (cpu, [*cpu, "soft_grpo"])
    )

added = f"+softthink=[{','.join([*cpu, 'soft_grpo'])}]"
print(f"python -m verl.trainer.main_ppo {added} ...\n")
changed = sorted(key for key in before if key in after and before[key] != after[key])
for key in changed:
    print(f"{key}: {before[key]} -> {after[key]}")
print(f"and {sum(key.startswith('softthink.') for key in after)} keys softthink.*, the settings of the method\n")
assert "trainer.v1.trainer_mode" in changed and after["actor_rollout_ref.rollout.n"] == 8

# The doctor checks the whole command line, data files included, before anything starts.
doctor = [sys.executable, "-c", "from verl_softthink.cli import app; app()", "doctor", "--", added, *STOCK]
with TemporaryDirectory() as folder:
    pocket_data(Path(folder), train=16, val=4)
    files = [f"data.train_files={folder}/train.parquet", f"data.val_files={folder}/val.parquet"]
    print(subprocess.run([*doctor, *files], check=True, capture_output=True, text=True).stdout)
