"""The engine that ``model.model_type`` names, in verl's SFT trainer too.

verl's PPO workers build the engine of their model's type; its SFT trainer asks for ``language_model`` whatever the
configuration says.
"""

import functools
from dataclasses import replace
from types import ModuleType

from verl_softthink.likelihood.engine import MODEL_TYPE


def register(workers: ModuleType) -> None:
    """``verl.workers.engine_workers``: let ``TrainingWorker`` take our model type from the model's configuration."""
    original = workers.TrainingWorker.__init__

    @functools.wraps(original)
    def __init__(self, config):
        if config.model_config.get("model_type") == MODEL_TYPE != config.model_type:
            config = replace(config, model_type=MODEL_TYPE)
        original(self, config)

    workers.TrainingWorker.__init__ = __init__
