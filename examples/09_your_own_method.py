"""A method of your own in 60 lines: of several responses to a prompt, shorter ones earn more.

python examples/09_your_own_method.py

A method is a group of settings and a stage, whose hooks run in every training step. Put both into a package of yours
beside the record ``METHOD``, with an entry point, and install that in the environment of the run:

    [project.entry-points."verl_softthink.methods"]
    brevity = "my_package.brevity:METHOD"

    pip install my_package
    python -m verl.trainer.main_ppo +softthink=soft_grpo +softthink.brevity.weight=0.1 ...
"""

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from verl_softthink.config.base import Settings
from verl_softthink.methods.registry import Method
from verl_softthink.methods.stage import Stage


class BrevitySettings(Settings):
    """``softthink.brevity``: the weight of the bonus beside the advantage of the run's estimator."""

    weight: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.1


def brevity(lengths: Tensor, prompts: Tensor) -> Tensor:
    """[N] how much shorter a response is than its prompt's mean, in means: lengths [N] in tokens, prompts [N] int64."""
    groups = torch.zeros(int(prompts.max()) + 1).index_add(0, prompts, lengths)
    mean = (groups / torch.bincount(prompts).clamp(min=1))[prompts]
    return (mean - lengths) / mean.clamp(min=1)


class BrevityStage(Stage):
    """Adds the bonus to every token of a response, after verl has computed the advantages."""

    def after_advantage(self, batch, metrics):
        from verl_softthink.batch import get, prompt_numbers, put

        data = get(batch.keys, batch.partition_id, ["advantages", "response_mask"])
        advantages, masks = data["advantages"].unbind(), data["response_mask"].unbind()
        lengths = torch.stack([mask.sum() for mask in masks]).float()
        bonus = self.settings.weight * brevity(lengths, prompt_numbers(batch.keys))
        metrics["softthink/brevity/bonus"] = float(bonus.abs().mean())
        rows = zip(advantages, bonus, masks, strict=True)
        return put(batch, {"advantages": [advantage + extra * mask for advantage, extra, mask in rows]})


METHOD = Method("brevity", settings=f"{__name__}:BrevitySettings", stage=f"{__name__}:BrevityStage")


def main() -> None:
    lengths, prompts = torch.tensor([10.0, 20.0, 30.0, 8.0, 8.0]), torch.tensor([0, 0, 0, 1, 1])
    for length, prompt, bonus in zip(lengths, prompts, brevity(lengths, prompts), strict=True):
        print(f"prompt {int(prompt)}, {int(length):2d} tokens: {float(bonus):+.2f}")
    assert brevity(lengths, prompts).tolist() == [0.5, 0.0, -0.5, 0.0, 0.0]


if __name__ == "__main__":
    main()
