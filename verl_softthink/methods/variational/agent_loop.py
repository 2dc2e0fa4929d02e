"""The agent loop of posterior thoughts: rolls out on the prompt with the hint, returns a row on the prompt without.

    ordinary step    z ~ q(. | x, hint), for the first ``model_share`` of a group z ~ pi(. | x);   trained on x
    posterior step   z ~ pi(. | x);                                                    trained on the hint's prompt

With ``resampled_answers`` = m the response is cut after the end-of-thinking marker and m answers are sampled from
pi(. | x, z). The row keeps the first right one, which has the distribution of any other right one, so its expected
gradient is that of their mean; its reward is the mean over the m answers. With ``geometric_mean`` or ``product`` the
row gets the reference answer.
"""

import asyncio
import inspect
from collections.abc import Mapping
from types import ModuleType
from typing import Any
from uuid import uuid4

import torch
from omegaconf import DictConfig
from verl.experimental.agent_loop.agent_loop import AgentLoopOutput
from verl.experimental.agent_loop.single_turn_agent_loop import SingleTurnAgentLoop
from verl.trainer.ppo.reward import get_custom_reward_fn
from verl.utils.reward_score import default_compute_score

from verl_softthink.config.base import ParsedOnce
from verl_softthink.methods.settings import parse_node
from verl_softthink.methods.variational.fields import AGENT_NAME, FROM_MODEL, HINT_TEXT, OTHER_PROMPT, THOUGHT
from verl_softthink.methods.variational.settings import ANSWER
from verl_softthink.methods.variational.thoughts import Response, hint_of, with_answer, with_hint
from verl_softthink.rollout.request import EXTRA_ARGS_KEY
from verl_softthink.thinking import EndOfThinking

#: The whole node: this loop reads its method's group and ``softthink.phase``.
node_settings = ParsedOnce(parse_node)


class PosteriorOutput(AgentLoopOutput):
    """verl's output with the other prompt and the length of the thought."""

    other_prompt: list[int]
    thought_length: int

    def as_dict(self) -> dict[str, Any]:
        """verl's fields plus ``softthink_other_prompt`` [P] and ``softthink_thought`` [T]."""
        output = super().as_dict()
        output[OTHER_PROMPT] = torch.tensor(output.pop("other_prompt"), dtype=torch.int64)
        output[THOUGHT] = (torch.arange(len(output["responses"])) < output.pop("thought_length")).long()
        return output


class AnswerReward:
    """The run's own reward function, called as verl's naive reward manager does.

    verl's reward loop gives one reward per response; several answers to one thought need several.
    """

    def __init__(self, config: DictConfig):
        self._score = get_custom_reward_fn(config) or default_compute_score

    async def of(self, text: str, row: Mapping[str, Any]) -> float:
        """The reward of one response to ``row`` of the data set."""
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


class PosteriorAgentLoop(SingleTurnAgentLoop):
    """Rolls out one thought, from the posterior or from the model."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.softthink = node_settings(self.rollout_config.custom[EXTRA_ARGS_KEY])
        self.reward = AnswerReward(self.config)

    async def run(self, sampling_params: dict[str, Any], **kwargs) -> PosteriorOutput:
        settings = self.softthink.variational
        posterior_step = settings.trains_posterior(int(kwargs["global_steps"]))
        from_model = posterior_step or int(kwargs["session_id"]) < settings.sessions_of_model(self.rollout_config.n)
        messages, hint = list(kwargs["raw_prompt"]), hint_of(kwargs, settings.hint)
        hinted = with_hint(messages, hint, settings.hint.template)
        output = await super().run(dict(sampling_params), **kwargs | {"raw_prompt": messages if from_model else hinted})
        model_prompt, posterior_prompt = [await self._prompt(chat) for chat in (messages, hinted)]
        # A chat template may add tokens after the assistant's turn, which were not sampled.
        sampled = sum(output.response_mask)
        ids = output.response_ids[:sampled]
        response = Response(ids, output.response_logprobs[:sampled], self._thought_length(ids))
        reward = None
        if settings.cuts_thoughts:
            response, reward = await self._answer(response, model_prompt, sampling_params, kwargs)
        mask = [1] * len(response.ids)
        if posterior_step:
            # The posterior is a distribution over thoughts: it is not trained on answers.
            mask[response.thought_length :] = [0] * (len(mask) - response.thought_length)
        trained, other = (posterior_prompt, model_prompt) if posterior_step else (model_prompt, posterior_prompt)
        return PosteriorOutput(
            prompt_ids=trained,
            other_prompt=other,
            response_ids=response.ids,
            response_mask=mask,
            response_logprobs=response.log_probs,
            thought_length=response.thought_length,
            reward_score=reward,
            num_turns=output.num_turns,
            metrics=output.metrics,
            extra_fields=output.extra_fields
            | {FROM_MODEL: from_model, HINT_TEXT: hint}
            | ({} if reward is None else {"reward_extra_info": {"acc": reward}}),
        )

    async def _prompt(self, messages: list[dict]) -> list[int]:
        """The whole prompt as tokens; verl would truncate a long one, and with it the question or the hint.

        Raises:
            ValueError: when it is longer than ``data.max_prompt_length``.
        """
        build = self.continuous_token_builder.build_initial_tokens
        ids = await asyncio.get_running_loop().run_in_executor(None, build, messages)
        if len(ids) > self.prompt_length:
            raise ValueError(
                f"data.max_prompt_length={self.prompt_length} is too short for a prompt of {len(ids)} tokens with its "
                "hint; raise it, or shorten softthink.variational.hint.template or the hints"
            )
        return list(ids)

    def _thought_length(self, ids: list[int]) -> int:
        """Up to and with the marker; the whole response where thoughts are not cut, and where thinking never ended."""
        if not self.softthink.variational.cuts_thoughts:
            return len(ids)
        phase = self.softthink.phase
        found = EndOfThinking(self.tokenizer, phase.end_of_thinking, phase.match).find(ids)
        return len(ids) if found is None else found.end

    async def _answer(
        self, response: Response, prompt: list[int], sampling_params: dict[str, Any], row: dict[str, Any]
    ) -> tuple[Response, float]:
        """The response with the answer that it is trained on, and the reward of its thought."""
        settings = self.softthink.variational
        if response.thought_length == len(response.ids):
            return response, 0.0  # No marker, or no room after it.
        if settings.answer != "accuracy":
            own = await self.reward.of(self._text(response.ids), row)
            text = settings.answer_template.replace(ANSWER, str(row["reward_model"]["ground_truth"]))
            ids = [*self.tokenizer.encode(text, add_special_tokens=False), self.tokenizer.eos_token_id]
            # Forced tokens: the rollout has no log-probs of them.
            return with_answer(response, ids, [0.0] * len(ids), self.response_length), own
        thought = response.ids[: response.thought_length]
        room = self.response_length - len(thought)
        answers = await asyncio.gather(
            *(
                self.server_manager.generate(
                    request_id=uuid4().hex,
                    prompt_ids=prompt + thought,
                    sampling_params=sampling_params | {"max_tokens": room},
                )
                for _ in range(settings.resampled_answers)
            )
        )
        candidates = [with_answer(response, a.token_ids, a.log_probs, self.response_length) for a in answers]
        rewards = await asyncio.gather(*(self.reward.of(self._text(c.ids), row) for c in candidates))
        best = max(range(len(candidates)), key=rewards.__getitem__)
        return candidates[best], sum(rewards) / len(rewards)

    def _text(self, ids: list[int]) -> str:
        return self.tokenizer.decode(ids, skip_special_tokens=True)


def register(agent_loop: ModuleType) -> None:
    """``verl.experimental.agent_loop.single_turn_agent_loop``: add agent loop ``softthink_posterior_agent``."""
    agent_loop.register(AGENT_NAME)(PosteriorAgentLoop)
