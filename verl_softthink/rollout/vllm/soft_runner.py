"""What a model runner keeps for soft requests, the same for vLLM's V1 and V2 runners.

Host code only moves request bookkeeping, in NumPy over the whole batch: nothing waits for the device.
"""

import logging

import numpy as np
import torch
from torch import Tensor
from vllm.distributed import get_tp_group
from vllm.v1.outputs import SamplerOutput

from verl_softthink.rollout.embedding import mixture_embeddings
from verl_softthink.rollout.input_positions import input_positions
from verl_softthink.rollout.phase.machine import REASON_NONE, REASON_NOT_FED
from verl_softthink.rollout.phase.markers import text_marker_table
from verl_softthink.rollout.prefix import load_prefix
from verl_softthink.rollout.request import EXTRA_ARGS_KEY, SoftRequest
from verl_softthink.rollout.state import SoftState
from verl_softthink.rollout.step import StepResult, soft_step
from verl_softthink.rollout.to_device import to_device
from verl_softthink.rollout.vllm.embedding import find_token_embedding
from verl_softthink.rollout.vllm.limits import candidate_slots, carries_embeddings, compiled_step
from verl_softthink.rollout.vllm.return_path import attach_failures, attach_rows
from verl_softthink.thinking import token_bytes

logger = logging.getLogger(__name__)
#: Positions whose candidates' embeddings are looked up at a time: bounds [R, K, H] in a prefill of soft positions.
POSITIONS_AT_ONCE = 1024
#: What the numbers of one request can raise while it is taken in.
_REQUEST_ERRORS = (ArithmeticError, LookupError, RuntimeError, TypeError, ValueError)
#: Rank that vLLM reports beside a log-prob; a log-density has none among the vocabulary's.
NO_RANK = 0


class SoftRunner:
    """State, embedding and current step of one model runner.

    Args:
        config: vLLM's whole configuration.
        model: the loaded model.
        device: where it runs.
    """

    def __init__(self, config, model: torch.nn.Module, device: torch.device):
        self._model_config = config.model_config
        self.embedding = find_token_embedding(model)
        self.state = SoftState(
            slots=config.scheduler_config.max_num_seqs,
            length=config.model_config.max_model_len,
            width=candidate_slots(config),
            device=device,
            fed=(self.embedding.width, self.embedding.dtype) if carries_embeddings(config) else None,
        )
        self._soft_step = torch.compile(soft_step, dynamic=True) if compiled_step(config) else soft_step
        #: The soft step about to be taken: slot and output index of every batch row, [N] int64; None if there is none.
        self.slots: Tensor | None = None
        self.index: Tensor | None = None
        #: Batch rows of soft requests, with the columns of their packed rows.
        self._columns: dict[int, int] = {}
        self._result: StepResult | None = None
        #: Slots whose mixtures this step feeds, [R] int64; None if it feeds none.
        self._fed: Tensor | None = None

    def add(self, request_id: str, values: dict, prompt: list[int]) -> None:
        """Give a request its slot; one that comes back after preemption keeps its own, and its history."""
        if self.state.slot(request_id) is not None:
            return
        request = SoftRequest.from_dict(values)
        if request.marker_text not in self.state.markers:
            self._add_text_marker(request.marker_text)
        try:
            self.state.add(request_id, request)
            if request.prefix is not None:
                load_prefix(self.state, self.state.slot(request_id), request, prompt)
        except _REQUEST_ERRORS:
            self.state.drop(request_id)
            raise

    def prepare(
        self,
        request_ids: list[str],
        starts: np.ndarray,
        computed: np.ndarray,
        prompts: np.ndarray,
        samples: np.ndarray,
    ) -> None:
        """Find the input rows of a batch that hold generated positions of soft requests, and fill them.

        Args:
            request_ids: N requests in the order of the batch.
            starts: [N + 1] first input row of each request.
            computed: [N] positions computed before this step.
            prompts: [N] prompt tokens, those of a soft prefix included.
            samples: [N] bool, whether the step's token counts: false while a prompt or a resumed request is computed
                in chunks.
        """
        state = self.state
        self.slots = self.index = None
        if self._fed is not None:
            self.embedding.soft_on.zero_()
            self._fed = None
        if not len(state):
            return
        slot_of = np.array([state.slot(name, state.trash) for name in request_ids], dtype=np.int64)
        soft = slot_of != state.trash
        if not soft.any():
            return
        self._columns = {int(row): state.row_columns(request_ids[row]) for row in np.flatnonzero(soft)}
        first = computed.astype(np.int64) - prompts + state.soft_prefix_length[slot_of]
        after = first + np.diff(starts)
        drawing = soft & samples
        batch = np.stack((np.where(drawing, slot_of, state.trash), np.where(drawing, after, 0)))
        self.slots, self.index = to_device(torch.from_numpy(batch), state.device).unbind()

        rows, owner, index = input_positions(starts, first, soft)
        if len(rows):
            self.embedding.expect(int(starts[-1]))
            fed = torch.from_numpy(np.stack((rows, slot_of[owner], index)))
            self._feed(*to_device(fed, state.device).unbind())

    def _feed(self, rows: Tensor, slots: Tensor, index: Tensor) -> None:
        """Mark input rows [R] and fill them with what was drawn at output ``index`` of ``slots``."""
        self._fed = slots
        for part in torch.stack((rows, slots, index)).split(POSITIONS_AT_ONCE, dim=1):
            rows, slots, index = part.unbind()
            mixed, on = mixture_embeddings(self.state, slots, index, self.embedding)
            self.embedding.soft_rows.index_copy_(0, rows, mixed)
            self.embedding.soft_on.index_copy_(0, rows, on)

    def step(self, logits: Tensor) -> StepResult:
        """The soft step on raw logits [N, V]; call it before the sampler, which scales them in place."""
        if self._fed is not None:
            reason = torch.where(self.embedding.fed, REASON_NONE, REASON_NOT_FED).expand_as(self._fed)
            self.state.fault.scatter_reduce_(0, self._fed, reason, "amax")
        self._result = self._soft_step(self.state, logits, self.slots, self.index, self.embedding)
        return self._result

    def override(self, output) -> None:
        """Put the step's tokens and log-densities into the sampler's output."""
        override_sampled(output, self._result)
        if self.state.switching:
            # Tokens of thinking that were left to the sampler may complete the marker.
            self.state.phases.write_sampled(self.slots, self.index, output.sampled_token_ids[:, 0])

    def attach(self, output, copy_stream):
        """Attach the step's packed rows to the runner's output, if a soft step was taken, and end the step."""
        result, self._result = self._result, None
        # A dummy batch is not prepared, and must not see this one's rows.
        self.slots = self.index = None
        if result is None:
            return output
        return attach_rows(output, result.rows, self._columns, copy_stream)

    def _add_text_marker(self, text: str) -> None:
        """Once per text: seconds of host work for a large vocabulary, while the engine waits."""
        self.state.markers.make_room(self.state.texts_alive)
        from vllm.tokenizers.registry import cached_tokenizer_from_config

        texts = token_bytes(cached_tokenizer_from_config(self._model_config), self._model_config.get_vocab_size())
        self.state.markers.add(text, text_marker_table(text.encode(), texts))


def override_sampled(output: SamplerOutput, result: StepResult) -> None:
    """Replace the rows of ``output`` that the law or phase control decided."""
    sampled = output.sampled_token_ids
    output.sampled_token_ids = torch.where(result.overrides[:, None], result.token[:, None].to(sampled.dtype), sampled)
    tensors = output.logprobs_tensors
    if tensors is not None:
        ids, log_probs, ranks = tensors.logprob_token_ids, tensors.logprobs, tensors.selected_token_ranks
        ids[:, 0] = torch.where(result.overrides, result.token.to(ids.dtype), ids[:, 0])
        log_probs[:, 0] = torch.where(result.overrides, result.log_prob, log_probs[:, 0])
        ranks.masked_fill_(result.overrides, NO_RANK)


def soft_runner(runner) -> SoftRunner:
    """What a model runner keeps for soft requests; made at the first call.

    Raises:
        RuntimeError: when the model cannot be fed mixtures.
    """
    if getattr(runner, "_softthink", None) is None:
        if runner.vllm_config.use_v2_model_runner:
            _check_model_state(runner)
        runner._softthink = SoftRunner(runner.vllm_config, runner.get_model(), runner.device)
    return runner._softthink


def _check_model_state(runner) -> None:
    """Models of the V2 runner may bring a state of their own, which decides what is fed and what is sampled."""
    from vllm.v1.worker.gpu.model_states.default import DefaultModelState

    if type(runner.model_state) is not DefaultModelState:
        raise RuntimeError(
            f"{type(runner.get_model()).__name__} runs with {type(runner.model_state).__name__} in vLLM's V2 model "
            "runner, under which soft tokens have not been checked: set VLLM_USE_V2_MODEL_RUNNER=0, or send no soft "
            "requests (extra_args['softthink']) to this model"
        )


def track_requests(runner, scheduler_output) -> None:
    """Free finished requests and give new soft ones their slot.

    A request that cannot be taken in is ended (``attach_step``); nobody else notices.
    """
    soft = getattr(runner, "_softthink", None)
    if soft is not None:
        for request_id in scheduler_output.finished_req_ids:
            soft.state.drop(request_id)
    failures, admitted = {}, False
    for new in scheduler_output.scheduled_new_reqs:
        extra = getattr(new.sampling_params, "extra_args", None) or {}
        if EXTRA_ARGS_KEY not in extra:
            continue
        admitted = True
        try:
            soft_runner(runner).add(new.req_id, extra[EXTRA_ARGS_KEY], new.prompt_token_ids)
        except _REQUEST_ERRORS as error:
            logger.exception("the soft request %s was ended", new.req_id)
            failures[new.req_id] = f"softthink: {error}"
    if admitted and runner.vllm_config.parallel_config.tensor_parallel_size > 1:
        failures = _failures_of_all_ranks(failures)
        soft = getattr(runner, "_softthink", None)
        for request_id in failures if soft is not None else ():
            soft.state.drop(request_id)
    runner._softthink_failures = failures


def _failures_of_all_ranks(failures: dict[str, str]) -> dict[str, str]:
    """What any rank could not take in, no rank may serve: they reduce their parts of its mixtures together."""
    group = get_tp_group()
    parts: list[dict[str, str]] = [{}] * group.world_size
    torch.distributed.all_gather_object(parts, failures, group=group.cpu_group)
    return {request_id: reason for part in reversed(parts) for request_id, reason in part.items()}


def attach_step(runner, output, copy_stream):
    """Attach to a runner's output what the step has for soft requests: trace rows, and those that failed."""
    soft = getattr(runner, "_softthink", None)
    if soft is not None:
        output = soft.attach(output, copy_stream)
    failures = getattr(runner, "_softthink_failures", {})
    return attach_failures(output, failures) if failures else output
