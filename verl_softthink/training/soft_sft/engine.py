"""The part of verl's FSDP engine that feeds thoughts and scores them against their target distributions.

Batches of ``dataset.SftDataset`` with target distributions are computed here, all others by the engine behind it.
Validation feeds the targets as they are.

A thought may be fed the model's own mixture in place of its target's (scheduled sampling, in parallel over positions:
Mihaylova and Martins 2019, arXiv 1906.07651). Passes without gradient before the one that is trained make them: each
feeds what the one before it predicted, so after p passes the first p thoughts of a row are those of a rollout.
"""

from dataclasses import dataclass

import numpy as np
import torch
from tensordict import TensorDict
from torch import Tensor
from verl.utils import tensordict_utils as tu

from verl_softthink.config.base import ParsedOnce
from verl_softthink.likelihood.soft_inputs import Mixtures
from verl_softthink.likelihood.soft_targets import (
    TARGET_IDS,
    TARGET_WEIGHTS,
    SoftTargets,
    expected_log_prob,
    soft_targets,
)
from verl_softthink.training.soft_sft.dataset import SETTINGS
from verl_softthink.training.soft_sft.feeding import Fed, drawn, jittered
from verl_softthink.training.soft_sft.settings import SoftSftSettings

#: Key in ``output_args``, which verl hands from its inputs to its outputs.
_TARGETS = "softthink_soft_targets"
_parse = ParsedOnce(SoftSftSettings.model_validate)


@dataclass
class _Thoughts:
    """The thoughts of one micro-batch, over all of its forward passes.

    Attributes:
        settings: how their mixtures are made.
        fed: the mixtures of the next pass; None before the first.
        own: [N] bool, thoughts that are fed the model's own mixture.
        making_own: the present pass makes these.
    """

    settings: SoftSftSettings
    fed: Fed | None = None
    own: Tensor | None = None
    making_own: bool = False

    def begin(self, targets: SoftTargets, generator: torch.Generator | None) -> Fed:
        """What the first pass feeds; with a generator it is noisy."""
        fed, settings = Fed(targets.ids, targets.weights), self.settings
        if generator is not None:
            fed = jittered(fed, settings.jitter, generator)
            if settings.law is not None:
                fed = drawn(fed.ids, fed.weights.log(), settings.law, settings.filter, generator)
            chance = torch.rand(len(fed.ids), generator=generator, device=fed.ids.device)
            self.own = chance < settings.own_probability
        self.fed = fed
        return fed

    def take_own(self, logits: Tensor, generator: torch.Generator) -> None:
        """Feed the next pass what the rollout would make of the logits [N, V] of each thought."""
        tokens = torch.arange(logits.shape[-1], device=logits.device).expand(logits.shape)
        mine = drawn(tokens, logits, self.settings.law, self.settings.filter, generator)
        self.fed = self.fed.replaced(self.own, mine)


class SoftTargetTraining:
    """A mixin in front of ``likelihood.engine.SoftTraceLikelihood``, whose hooks on the input embedding it uses."""

    _noise: torch.Generator | None = None
    _noise_step: int | None = None
    _thoughts: _Thoughts | None = None
    _trains: bool = False

    def forward_step(self, micro_batch, loss_function, forward_only):
        settings = _settings(micro_batch)
        self._thoughts = None if settings is None else _Thoughts(settings)
        self._trains = not forward_only
        if settings is not None and self._trains and settings.own_probability > 0:
            self._thoughts.making_own = True
            for _ in range(settings.own_passes):
                with torch.no_grad():
                    super().forward_step(micro_batch, None, True)
            self._thoughts.making_own = False
        return super().forward_step(micro_batch, loss_function, forward_only)

    def row_readers(self, micro_batch: TensorDict) -> list[str]:
        """Target distributions are of whole rows."""
        return super().row_readers(micro_batch) + ([TARGET_IDS] if TARGET_IDS in micro_batch else [])

    def prepare_model_inputs(self, micro_batch):
        model_inputs, output_args = super().prepare_model_inputs(micro_batch)
        if self._thoughts is None:
            return model_inputs, output_args
        targets = soft_targets(micro_batch["input_ids"], micro_batch[TARGET_IDS], micro_batch[TARGET_WEIGHTS])
        if not len(targets.row):
            return model_inputs, output_args
        fed = self._thoughts.fed
        if fed is None:
            fed = self._thoughts.begin(targets, self._generator(targets.ids.device) if self._trains else None)
        packed = tu.get_non_tensor_data(micro_batch, "use_remove_padding", default=True)
        index = targets.packed() if packed else targets.padded(model_inputs["input_ids"].shape[1])
        self._soft_inputs.feed(Mixtures(index, fed.ids, fed.weights, detach=False))
        output_args[_TARGETS] = targets, index
        return model_inputs, output_args

    def prepare_model_outputs(self, output, output_args, micro_batch, logits_processor_func):
        if _TARGETS not in output_args:
            return super().prepare_model_outputs(output, output_args, micro_batch, logits_processor_func)
        self._soft_inputs.require_fed()
        targets, index = output_args[_TARGETS]
        if self._thoughts.making_own:
            logits = output.logits.reshape(-1, output.logits.shape[-1])[index - 1]
            self._thoughts.take_own(logits, self._generator(logits.device))
        # Before verl's own log-probs: it may scale the logits, and its backward pass may overwrite them.
        score = expected_log_prob(output.logits, index - 1, targets.ids, targets.weights)
        model_output = super().prepare_model_outputs(output, output_args, micro_batch, logits_processor_func)
        tokens = model_output["log_probs"]
        log_probs = tokens.values().float().index_copy(0, targets.packed() - 1, score)
        model_output["log_probs"] = torch.nested.nested_tensor_from_jagged(log_probs, tokens.offsets())
        return model_output

    def _generator(self, device: torch.device) -> torch.Generator:
        """The noise of this rank in the present step: a resumed run draws what the whole one would have drawn."""
        # The scheduler counts steps, and its checkpoint the steps before it.
        step = self.lr_scheduler.last_epoch
        if self._noise_step != step:
            stream = (self._thoughts.settings.seed, self.get_data_parallel_rank(), step)
            (seed,) = np.random.SeedSequence(stream).generate_state(1, np.uint64)
            self._noise = torch.Generator(device).manual_seed(int(seed >> 1))
            self._noise_step = step
        return self._noise


def _settings(micro_batch: TensorDict) -> SoftSftSettings | None:
    """The settings of a micro-batch with target distributions, the same in every row."""
    if SETTINGS not in micro_batch:
        return None
    values = tu.get(micro_batch, SETTINGS)
    return _parse(values[0] if isinstance(values, list) else values)
