"""Soft steps in vLLM's V1 model runner (``GPUModelRunner``, which the CPU runner extends).

Per engine step:  ``_update_states`` adds and drops requests; ``_preprocess`` fills the embedding's soft rows from
history; ``_sample`` takes the soft step on the raw logits and overrides what was sampled; ``sample_tokens`` attaches
the packed trace rows to the output. Host code only moves request bookkeeping: nothing waits for the device.
"""

import functools
from dataclasses import dataclass

import numpy as np
import torch

from verl_softthink.rollout.history import mixture_embeddings
from verl_softthink.rollout.request import EXTRA_ARGS_KEY, SoftRequest
from verl_softthink.rollout.state import SoftState
from verl_softthink.rollout.step import StepResult, soft_step
from verl_softthink.rollout.text_marker import text_marker_table, token_bytes
from verl_softthink.rollout.vllm.embedding import SoftVocabParallelEmbedding, find_token_embedding
from verl_softthink.rollout.vllm.limits import candidate_slots, fed_embeddings
from verl_softthink.rollout.vllm.return_path import attach_rows
from verl_softthink.rollout.vllm.sampled import override_sampled, replaces_sampling, sampled_by_law


@dataclass
class SoftRunner:
    """What a model runner keeps for soft requests: state, embedding, and the rows of the step under way."""

    state: SoftState
    embedding: SoftVocabParallelEmbedding
    slots: torch.Tensor | None = None
    index: torch.Tensor | None = None
    #: Rows of soft requests, with the columns of their packed rows.
    soft_batch_rows: dict[int, int] | None = None
    result: StepResult | None = None
    rows_marked: bool = False


def install(runner_class: type) -> None:
    """Wrap the four methods of ``GPUModelRunner``; once."""
    update_states = runner_class._update_states
    preprocess = runner_class._preprocess
    sample = runner_class._sample
    sample_tokens = runner_class.sample_tokens

    @functools.wraps(update_states)
    def soft_update_states(self, scheduler_output):
        _track_requests(self, scheduler_output)
        return update_states(self, scheduler_output)

    @functools.wraps(preprocess)
    def soft_preprocess(self, scheduler_output, num_input_tokens, *args, **kwargs):
        soft = getattr(self, "_softthink", None)
        if soft is not None:
            _prepare(self, soft, int(num_input_tokens))
        return preprocess(self, scheduler_output, num_input_tokens, *args, **kwargs)

    @functools.wraps(sample)
    def soft_sample(self, logits, spec_decode_metadata):
        soft = getattr(self, "_softthink", None)
        if soft is None or soft.slots is None or logits is None:
            return sample(self, logits, spec_decode_metadata)
        # Before the sampler: it scales logits in place.
        soft.result = soft_step(soft.state, logits, soft.slots, soft.index, soft.embedding)
        if replaces_sampling(soft.result, self.input_batch):
            return sampled_by_law(soft.result, self.input_batch.sampling_metadata)
        output = sample(self, logits, spec_decode_metadata)
        override_sampled(output, soft.result)
        if soft.state.switching:
            # Tokens of thinking that were left to the sampler may complete the marker.
            soft.state.phases.write_sampled(soft.slots, soft.index, output.sampled_token_ids[:, 0])
        return output

    @functools.wraps(sample_tokens)
    def soft_sample_tokens(self, *args, **kwargs):
        output = sample_tokens(self, *args, **kwargs)
        soft = getattr(self, "_softthink", None)
        if soft is None or soft.result is None:
            return output
        result, soft.result = soft.result, None
        return attach_rows(output, result.rows, soft.soft_batch_rows, getattr(self, "async_output_copy_stream", None))

    runner_class._update_states = soft_update_states
    runner_class._preprocess = soft_preprocess
    runner_class._sample = soft_sample
    runner_class.sample_tokens = soft_sample_tokens


def _track_requests(runner, scheduler_output) -> None:
    """Free finished requests and give new soft ones their slot."""
    soft = getattr(runner, "_softthink", None)
    if soft is not None:
        for request_id in scheduler_output.finished_req_ids:
            soft.state.drop(request_id)
    for new in scheduler_output.scheduled_new_reqs:
        extra = getattr(new.sampling_params, "extra_args", None) or {}
        if EXTRA_ARGS_KEY in extra:
            if soft is None:
                soft = runner._softthink = _build(runner)
            request = SoftRequest.from_dict(extra[EXTRA_ARGS_KEY])
            if request.marker_text not in soft.state.markers:
                _add_text_marker(runner, soft.state, request.marker_text)
            soft.state.add(new.req_id, request)


def _add_text_marker(runner, state: SoftState, text: str) -> None:
    """Once per text: seconds of host work for a large vocabulary, while the engine waits."""
    from vllm.tokenizers.registry import cached_tokenizer_from_config

    tokenizer = cached_tokenizer_from_config(runner.model_config)
    texts = token_bytes(tokenizer, runner.model_config.get_vocab_size())
    state.markers.add(text, text_marker_table(text.encode(), texts))


def _build(runner) -> SoftRunner:
    """Size the tables for this engine, at its first soft request."""
    config = runner.vllm_config
    embedding = find_token_embedding(runner.get_model())
    state = SoftState(
        slots=config.scheduler_config.max_num_seqs,
        length=config.model_config.max_model_len,
        width=candidate_slots(config),
        device=runner.device,
        fed=(embedding.width, embedding.dtype) if fed_embeddings(config) else None,
    )
    return SoftRunner(state=state, embedding=embedding)


def _prepare(runner, soft: SoftRunner, num_input_tokens: int) -> None:
    """Find the rows of this batch that feed generated positions of soft requests, and fill them.

    Under V1 a scheduled token at position p of a request with P prompt tokens is output index p - P. Decode rows,
    chunks of a resumed request after preemption, and prompts are told apart by that index alone.
    """
    state, embedding = soft.state, soft.embedding
    soft.slots = soft.index = None
    if soft.rows_marked:
        embedding.soft_on.zero_()
        soft.rows_marked = False
    if not len(state):
        return
    batch = runner.input_batch
    count = batch.num_reqs
    slot_of = [state.slot(request_id) for request_id in batch.req_ids[:count]]
    soft.soft_batch_rows = {
        row: state.row_columns(batch.req_ids[row]) for row, slot in enumerate(slot_of) if slot is not None
    }
    if not soft.soft_batch_rows:
        return
    starts = runner.query_start_loc.np
    computed = batch.num_computed_tokens_cpu
    prompts = batch.num_prompt_tokens
    discarded = runner.discard_request_mask.np

    slots = np.full(count, state.trash, np.int64)
    index = np.zeros(count, np.int64)
    fed_rows, fed_slots, fed_index = [], [], []
    for row in soft.soft_batch_rows:
        start, end = int(starts[row]), int(starts[row + 1])
        first = int(computed[row]) - int(prompts[row])
        after = first + (end - start)
        if not discarded[row]:
            slots[row], index[row] = slot_of[row], after
        begin = max(first, 0)
        if after > begin:
            fed_rows.append(np.arange(start + begin - first, end))
            fed_slots.append(np.full(after - begin, slot_of[row]))
            fed_index.append(np.arange(begin, after))
    device = state.device
    soft.slots = torch.from_numpy(slots).to(device, non_blocking=True)
    soft.index = torch.from_numpy(index).to(device, non_blocking=True)
    if fed_rows:
        rows, row_slots, row_index = (
            torch.from_numpy(np.concatenate(parts)).to(device, non_blocking=True)
            for parts in (fed_rows, fed_slots, fed_index)
        )
        mixed, on = mixture_embeddings(state, row_slots, row_index, embedding)
        embedding.soft_rows.index_copy_(0, rows, mixed)
        embedding.soft_on.index_copy_(0, rows, on)
        soft.rows_marked = True
