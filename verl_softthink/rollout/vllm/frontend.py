"""Soft requests are checked and resolved in the frontend, where an error reaches its caller and harms nobody else."""

import functools

from vllm.exceptions import VLLMValidationError
from vllm.sampling_params import SamplingParams

from verl_softthink.rollout.request import EXTRA_ARGS_KEY, resolve
from verl_softthink.rollout.state import MAX_MARKER
from verl_softthink.rollout.vllm.limits import candidate_slots, check_engine, fed_embeddings


def install(input_processor_class: type) -> None:
    """Wrap ``InputProcessor.process_inputs``: replace the user's soft settings by their resolved form."""
    process_inputs = input_processor_class.process_inputs

    @functools.wraps(process_inputs)
    def with_soft_settings(self, request_id, prompt, params, *args, **kwargs):
        extra = getattr(params, "extra_args", None) or {}
        if EXTRA_ARGS_KEY in extra:
            try:
                params = _resolved(self, params)
            except ValueError as error:
                # The one kind of error whose message vLLM's asynchronous engine hands to the caller.
                raise VLLMValidationError(str(error)) from error
        return process_inputs(self, request_id, prompt, params, *args, **kwargs)

    input_processor_class.process_inputs = with_soft_settings


def _resolved(processor, params: SamplingParams) -> SamplingParams:
    check_engine(processor.vllm_config)
    if params.n > 1:
        raise ValueError(
            f"n={params.n}: one soft request draws one response, its noise being a function of its seed; send "
            f"{params.n} requests with different extra_args['softthink']['seed']"
        )
    tokenizer = processor.tokenizer
    limit = processor.model_config.max_model_len
    request = resolve(
        params.extra_args[EXTRA_ARGS_KEY],
        max_tokens=params.max_tokens if params.max_tokens is not None else limit,
        width=candidate_slots(processor.vllm_config),
        fed_embeddings=fed_embeddings(processor.vllm_config),
        tokenize=None if tokenizer is None else lambda text: tokenizer.encode(text, add_special_tokens=False),
    )
    check_marker(request.marker, processor.model_config.get_vocab_size())
    params = params.clone()
    params.extra_args = {**params.extra_args, EXTRA_ARGS_KEY: request.as_dict()}
    return params


def check_marker(marker: tuple[int, ...], vocabulary: int) -> None:
    """A marker must be producible: token ids of the model, few enough to match.

    Raises:
        ValueError: naming the key, the value and the fix.
    """
    if not 1 <= len(marker) <= MAX_MARKER:
        raise ValueError(
            f"softthink.phase.end_of_thinking is {len(marker)} tokens long ({list(marker)}); use 1 to {MAX_MARKER}"
        )
    foreign = [token for token in marker if not 0 <= token < vocabulary]
    if foreign:
        raise ValueError(
            f"softthink.phase.end_of_thinking has token ids {foreign} outside the vocabulary of {vocabulary}; give ids "
            "of this model's tokenizer"
        )
