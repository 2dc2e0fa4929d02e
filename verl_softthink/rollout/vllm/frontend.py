"""Soft requests are checked and resolved in the frontend, where an error reaches its caller and no other request."""

import functools
from collections.abc import Iterator
from contextlib import contextmanager

from vllm.exceptions import VLLMValidationError
from vllm.sampling_params import SamplingParams
from vllm.v1.engine import EngineCoreRequest

from verl_softthink.config.messages import shown
from verl_softthink.rollout.phase.lead_in import lead_ins_of
from verl_softthink.rollout.prefix import LENGTH
from verl_softthink.rollout.prefix_check import checked_prefix
from verl_softthink.rollout.request import EXTRA_ARGS_KEY, SoftRequest, resolve
from verl_softthink.rollout.sampling_settings import check_sampling
from verl_softthink.rollout.vllm.adapters import check_adapter
from verl_softthink.rollout.vllm.limits import candidate_slots, carries_embeddings, check_engine
from verl_softthink.rollout.vllm.memory import check_reserved
from verl_softthink.thinking import EndOfThinking


def install(input_processor_class: type) -> None:
    """Wrap ``InputProcessor.process_inputs``: replace the user's soft settings by their resolved form."""
    process_inputs = input_processor_class.process_inputs

    @functools.wraps(process_inputs)
    def with_soft_settings(self, request_id, prompt, params, *args, **kwargs):
        extra = getattr(params, "extra_args", None) or {}
        if EXTRA_ARGS_KEY not in extra:
            return process_inputs(self, request_id, prompt, params, *args, **kwargs)
        with _errors_for_the_caller():
            if kwargs.get("resumable"):
                raise ValueError(
                    "extra_args['softthink'] in a session with streaming input: its history would end where new input "
                    "begins; send whole prompts, or continue a response by softthink.prefix"
                )
            request = _resolved(self, params)
        params = params.clone()
        params.extra_args = {**params.extra_args, EXTRA_ARGS_KEY: request.as_dict()}
        processed = process_inputs(self, request_id, prompt, params, *args, **kwargs)
        with _errors_for_the_caller():
            check_adapter(processed.lora_request)
            check_text_only(processed)
            if request.prefix is not None:
                _check_prefix(self, request, processed.prompt_token_ids)
        return processed

    input_processor_class.process_inputs = with_soft_settings


@contextmanager
def _errors_for_the_caller() -> Iterator[None]:
    """Raise a ``ValueError`` as the one kind whose message vLLM's asynchronous engine hands to the caller."""
    try:
        yield
    except ValueError as error:
        raise VLLMValidationError(str(error)) from error


def _resolved(processor, params: SamplingParams) -> SoftRequest:
    check_engine(processor.vllm_config)
    check_reserved(processor.vllm_config)
    check_sampling(params)
    tokenizer = processor.tokenizer
    limit = processor.model_config.max_model_len
    vocabulary = processor.model_config.get_vocab_size()
    values = params.extra_args[EXTRA_ARGS_KEY]
    if not isinstance(values, dict):
        raise ValueError(
            f"softthink={shown(values)}: give a dictionary of settings in extra_args; the vllm_xargs of vLLM's server "
            "take none, the sampling_params of its route /inference/v1/generate do"
        )
    request = resolve(
        values,
        max_tokens=limit if params.max_tokens is None else params.max_tokens + _prefix_length(values),
        width=candidate_slots(processor.vllm_config),
        carries_embeddings=carries_embeddings(processor.vllm_config),
        stop=_stop_token(params, vocabulary, None if tokenizer is None else tokenizer.eos_token_id),
        tokenize=None if tokenizer is None else functools.partial(_tokenize, tokenizer),
        spell=None if tokenizer is None else functools.partial(lead_ins_of, tokenizer),
    )
    check_tokens("end_of_thinking", request.marker, vocabulary)
    check_tokens("answer_prefix", request.answer_prefix, vocabulary)
    check_tokens("lead_in", request.lead_ins[0], vocabulary)
    return request


def check_text_only(processed: EngineCoreRequest) -> None:
    """Refuse a prompt with more than tokens.

    Raises:
        ValueError: naming what else it has.
    """
    kinds = sorted({feature.modality for feature in processed.mm_features or ()})
    if kinds:
        raise ValueError(
            f"extra_args['softthink'] in a request with {shown(kinds)}: soft tokens beside them have not been checked; "
            "send a prompt of text alone, or the request without softthink"
        )


def _prefix_length(values: object) -> int:
    """Positions of the response that the prompt ends with, read from settings that are not checked yet."""
    prefix = values.get("prefix") if isinstance(values, dict) else None
    length = prefix.get(LENGTH) if isinstance(prefix, dict) else None
    return length if isinstance(length, int) else 0


def _check_prefix(processor, request: SoftRequest, prompt: list[int]) -> None:
    config = processor.model_config
    checked_prefix(
        request,
        prompt,
        EndOfThinking(processor.tokenizer, request.marker_text or request.marker),
        width=candidate_slots(processor.vllm_config),
        vocabulary=config.get_vocab_size(),
        hidden=config.get_hidden_size(),
    )


def _tokenize(tokenizer, text: str) -> list[int]:
    """Token ids of a text that is to be matched or forced."""
    ids = tokenizer.encode(text, add_special_tokens=False)
    if tokenizer.unk_token_id in ids:
        raise ValueError(
            f"softthink.phase: the tokenizer cannot produce {shown(text)}: it becomes {shown(ids)}, with the unknown "
            f"token {tokenizer.unk_token_id}; use a text of this model, or token ids"
        )
    return ids


def _stop_token(params: SamplingParams, vocabulary: int, end_of_sequence: int | None) -> int | None:
    """A token of the model at which vLLM ends this request."""
    for token in params.stop_token_ids or ():
        if 0 <= token < vocabulary:
            return token
    return None if params.ignore_eos else end_of_sequence


def check_tokens(key: str, tokens: tuple[int, ...], vocabulary: int) -> None:
    """Tokens to be matched or forced must be ids of the model.

    Raises:
        ValueError: naming the key, the value and the fix.
    """
    foreign = [token for token in tokens if not 0 <= token < vocabulary]
    if foreign:
        raise ValueError(
            f"softthink.phase.{key} has token ids {shown(foreign)} outside the vocabulary of {vocabulary}; give ids "
            "of this model's tokenizer"
        )
