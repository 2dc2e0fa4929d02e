"""Compose verl's configuration for several command lines, and check each as verl does at start-up.

Run as a program with VERL_PLATFORM=cpu: reads a JSON list of override lists from standard input and writes the composed
configurations as a JSON list to the file named on the command line.
"""

import json
import sys
from pathlib import Path

import verl  # noqa: F401  (loads the plugin, which registers the recipes)
from hydra import compose, initialize_config_module
from omegaconf import OmegaConf
from verl.utils.config import validate_config


def main() -> None:
    composed = []
    with initialize_config_module("verl.trainer.config", version_base=None):
        for overrides in json.load(sys.stdin):
            config = compose("ppo_trainer", overrides=overrides)
            # verl's own checks; the soft settings need the model's tokenizer, which may not be here.
            plain = OmegaConf.masked_copy(config, [key for key in config if key != "softthink"])
            plain.actor_rollout_ref.rollout.custom = None
            validate_config(plain, use_reference_policy=True, use_critic=False)
            composed.append(OmegaConf.to_container(config))
    Path(sys.argv[1]).write_text(json.dumps(composed))


if __name__ == "__main__":
    main()
