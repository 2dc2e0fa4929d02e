"""Soft steps in vLLM's V2 model runner (``vllm.v1.worker.gpu``), the default for most models on a GPU.

Per engine step:  ``add_requests`` adds and drops requests; ``prepare_inputs`` gives the batch whose soft rows are
filled from history, before any graph replays; the sampler takes the soft step on the raw logits and its output is
overridden before it is fed back; ``sample_tokens`` attaches the packed trace rows to the asynchronous output.

A preempted request is removed and comes back as a new one whose prefill holds its generated tokens: its slot and
history are kept until it is finished, positions between prompt and prefill are fed from history, and a token counts
once the whole prefill is computed. The order of the batch changes from step to step and is read from the batch.
"""

import functools
from types import ModuleType

from verl_softthink.rollout.vllm.soft_runner import attach_step, track_requests


def install_runner(model_runner: ModuleType) -> None:
    """Wrap three methods of the V2 ``GPUModelRunner``."""
    runner_class = model_runner.GPUModelRunner
    add_requests = runner_class.add_requests
    prepare_inputs = runner_class.prepare_inputs
    sample_tokens = runner_class.sample_tokens

    @functools.wraps(add_requests)
    def soft_add_requests(self, scheduler_output):
        add_requests(self, scheduler_output)
        track_requests(self, scheduler_output)
        soft = getattr(self, "_softthink", None)
        if soft is not None:
            self.sampler._softthink = soft

    @functools.wraps(prepare_inputs)
    def soft_prepare_inputs(self, *args, **kwargs):
        batch = prepare_inputs(self, *args, **kwargs)
        soft = getattr(self, "_softthink", None)
        if soft is not None:
            count = batch.num_reqs
            starts = batch.query_start_loc_np[: count + 1]
            computed = batch.num_computed_tokens_np[:count]
            requests = batch.idx_mapping_np[:count]
            soft.prepare(
                batch.req_ids,
                starts=starts,
                computed=computed,
                prompts=self.req_states.prompt_len.np[requests],
                samples=computed + starts[1:] - starts[:-1] >= self.req_states.prefill_len.np[requests],
            )
        return batch

    @functools.wraps(sample_tokens)
    def soft_sample_tokens(self, *args, **kwargs):
        return attach_step(self, sample_tokens(self, *args, **kwargs), self.output_copy_stream)

    runner_class.add_requests = soft_add_requests
    runner_class.prepare_inputs = soft_prepare_inputs
    runner_class.sample_tokens = soft_sample_tokens


def install_sampler(sampler: ModuleType) -> None:
    """Wrap ``Sampler.__call__``."""
    sampler_class = sampler.Sampler
    call = sampler_class.__call__

    @functools.wraps(call)
    def soft_call(self, logits, *args, **kwargs):
        soft = getattr(self, "_softthink", None)
        if soft is None or soft.slots is None:
            return call(self, logits, *args, **kwargs)
        soft.step(logits)
        output = call(self, logits, *args, **kwargs)
        soft.override(output)
        return output

    sampler_class.__call__ = soft_call
