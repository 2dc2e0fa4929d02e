"""Soft steps in vLLM's V1 model runner (``GPUModelRunner``, which the CPU runner extends).

Per engine step:  ``_update_states`` adds and drops requests; ``_preprocess`` fills the embedding's soft rows from
history; ``_sample`` takes the soft step on the raw logits and overrides what was sampled; ``sample_tokens`` attaches
the packed trace rows to the output.
"""

import functools

import torch
from vllm.v1.outputs import LogprobsTensors, SamplerOutput

from verl_softthink.rollout.step import StepResult
from verl_softthink.rollout.vllm.soft_runner import NO_RANK, attach_step, track_requests


def install(runner_class: type) -> None:
    """Wrap the four methods of ``GPUModelRunner``; once."""
    update_states = runner_class._update_states
    preprocess = runner_class._preprocess
    sample = runner_class._sample
    sample_tokens = runner_class.sample_tokens

    @functools.wraps(update_states)
    def soft_update_states(self, scheduler_output):
        track_requests(self, scheduler_output)
        return update_states(self, scheduler_output)

    @functools.wraps(preprocess)
    def soft_preprocess(self, scheduler_output, num_input_tokens, *args, **kwargs):
        soft = getattr(self, "_softthink", None)
        if soft is not None:
            batch = self.input_batch
            count = batch.num_reqs
            soft.prepare(
                batch.req_ids[:count],
                starts=self.query_start_loc.np[: count + 1],
                computed=batch.num_computed_tokens_cpu[:count],
                prompts=batch.num_prompt_tokens[:count],
                samples=~self.discard_request_mask.np[:count],
            )
        return preprocess(self, scheduler_output, num_input_tokens, *args, **kwargs)

    @functools.wraps(sample)
    def soft_sample(self, logits, spec_decode_metadata):
        soft = getattr(self, "_softthink", None)
        if soft is None or soft.slots is None or logits is None:
            return sample(self, logits, spec_decode_metadata)
        result = soft.step(logits)
        if replaces_sampling(result, self.input_batch):
            return sampled_by_law(result, self.input_batch.sampling_metadata)
        output = sample(self, logits, spec_decode_metadata)
        soft.override(output)
        return output

    @functools.wraps(sample_tokens)
    def soft_sample_tokens(self, *args, **kwargs):
        output = sample_tokens(self, *args, **kwargs)
        return attach_step(self, output, getattr(self, "async_output_copy_stream", None))

    runner_class._update_states = soft_update_states
    runner_class._preprocess = soft_preprocess
    runner_class._sample = soft_sample
    runner_class.sample_tokens = soft_sample_tokens


def replaces_sampling(result: StepResult, input_batch) -> bool:
    """Whether the ordinary sampler has nothing left to decide, so that its pass over the vocabulary can be saved.

    Only on a CPU, where looking at ``overrides`` does not wait for a device. Requests with generators keep the
    sampler: whether a generator advances must not depend on who else is in the batch. So do requests that want more
    log-probs than their token's.
    """
    return (
        result.overrides.device.type == "cpu"
        and not input_batch.generators
        and not input_batch.sampling_metadata.max_num_logprobs
        and not input_batch.sampling_metadata.logprob_token_ids
        and bool(result.overrides.all())
    )


def sampled_by_law(result: StepResult, sampling_metadata) -> SamplerOutput:
    """The sampler's output for a batch that was decided without it."""
    tensors = None
    if sampling_metadata.max_num_logprobs is not None:
        tensors = LogprobsTensors(
            logprob_token_ids=result.token[:, None].int(),
            logprobs=result.log_prob[:, None],
            selected_token_ranks=torch.full_like(result.token, NO_RANK),
        )
    return SamplerOutput(sampled_token_ids=result.token[:, None].int(), logprobs_tensors=tensors)
