"""verl's agent loops as our trainer calls them: every row of the data has noise of its own, and validation its loop."""

import json
from collections import Counter

from tensordict import NonTensorData, TensorDict
from verl.utils import tensordict_utils as tu

from verl_softthink.rollout.fields import OCCURRENCE
from verl_softthink.training.agent_column import AGENT, replaced_loop


class Agents:
    """verl's manager of agent loops, with two additions to the prompts that it is sent.

    The noise of a request is derived from its prompt, so that a resumed run draws it again. Equal prompts are numbered
    within a step, in the order of the data; validation is numbered by itself. Prompts that have a number keep it.
    """

    def __init__(self, manager, loop: str, validation_loop: str | None):
        """
        Args:
            manager: verl's ``AgentLoopManager``, or what stands in for it; it answers everything else.
            loop: ``actor_rollout_ref.rollout.agent.default_agent_loop``.
            validation_loop: the agent loop of validation; None for ``loop``.
        """
        self._manager, self._loop, self._validation_loop = manager, loop, validation_loop
        self._numbered: tuple[int, bool] | None = None
        self._seen: Counter[str] = Counter()

    def __getattr__(self, name: str):
        return getattr(self.__dict__["_manager"], name)

    def generate_sequences(self, prompts: TensorDict) -> None:
        """Send prompts, whose agent loops put their rows into the TransferQueue.

        Raises:
            ValueError: a column of the data chooses another agent loop than the recipe's.
        """
        validates = bool(tu.get(prompts, "validate", default=False))
        self._refuse_other_loops(prompts, "validation" if validates else "training")
        if validates and self._validation_loop is not None:
            prompts[AGENT] = NonTensorData(self._validation_loop, batch_size=prompts.batch_size)
        if OCCURRENCE not in prompts:
            self._number(prompts, validates)
        self._manager.generate_sequences(prompts)

    def _refuse_other_loops(self, prompts: TensorDict, purpose: str) -> None:
        # A single value for all rows is a method's own; the data's is a value for each.
        if AGENT in prompts and not isinstance(prompts.get(AGENT), NonTensorData):
            problem = replaced_loop(f"the {purpose} data", tu.get(prompts, AGENT), self._loop)
            if problem is not None:
                raise ValueError(problem)

    def _number(self, prompts: TensorDict, validates: bool) -> None:
        step = (int(tu.get(prompts, "global_steps")), validates)
        if step != self._numbered:
            self._numbered, self._seen = step, Counter()
        numbers = []
        for messages in tu.get(prompts, "raw_prompt"):
            prompt = json.dumps(list(messages), sort_keys=True, default=str)
            numbers.append(self._seen[prompt])
            self._seen[prompt] += 1
        tu.assign_non_tensor_stack(prompts, OCCURRENCE, numbers)
