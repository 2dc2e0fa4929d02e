"""What the law decided, put where vLLM's sampler puts its own: the token, and column 0 of ids and log-probs."""

import torch
from vllm.v1.outputs import LogprobsTensors, SamplerOutput

from verl_softthink.rollout.step import StepResult

#: Rank that vLLM reports beside a log-prob; a log-density has none among the vocabulary's.
NO_RANK = 0


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
