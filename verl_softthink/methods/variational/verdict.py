"""The verdict on an answer inside an agent loop, by the run's own reward function."""

import asyncio
import inspect
from collections.abc import Mapping
from typing import Any

from omegaconf import DictConfig
from verl.trainer.ppo.reward import get_custom_reward_fn
from verl.utils.reward_score import default_compute_score


class Judge:
    """Scores texts as verl's naive reward manager does; several answers to one trace need several verdicts, and an
    agent loop's output carries one."""

    def __init__(self, config: DictConfig):
        self._score = get_custom_reward_fn(config) or default_compute_score

    async def score(self, text: str, row: Mapping[str, Any]) -> float:
        """The reward of one response to the data set's ``row``."""
        arguments = {
            "data_source": row["data_source"],
            "solution_str": text,
            "ground_truth": row["reward_model"]["ground_truth"],
            "extra_info": dict(row.get("extra_info") or {}),
        }
        if inspect.iscoroutinefunction(getattr(self._score, "func", self._score)):
            result = await self._score(**arguments)
        else:
            result = await asyncio.get_running_loop().run_in_executor(None, lambda: self._score(**arguments))
        return float(result["score"] if isinstance(result, dict) else result)
