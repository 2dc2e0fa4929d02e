"""One soft request as the engine sees it: validated settings with the marker as token ids and the noise seed fixed.

The frontend, which has the tokenizer and whose errors reach the caller alone, resolves a request once; the engine and
its workers read the resolved form and validate nothing again.
"""

import json
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields
from functools import cached_property

from verl_softthink.config.base import parse
from verl_softthink.config.messages import shown
from verl_softthink.config.settings import LawSettings, RequestSettings
from verl_softthink.laws import LAWS, ParameterValue
from verl_softthink.rollout.phase.lead_in import MAX_FORCED, LeadIns, lead_ins_by_tokens
from verl_softthink.thinking import MAX_MARKER

#: Key of ``SamplingParams.extra_args`` under which a soft request travels.
EXTRA_ARGS_KEY = "softthink"
#: Forced where a request has no stop token and its logits are not numbers: any id, flagged as forced.
NO_STOP = 0


@dataclass(frozen=True)
class SoftRequest:
    """What a worker needs to know about a request; plain values only, so that it travels by msgpack.

    ``marker_text`` is empty where token ids are compared, and ``lead_ins`` is what is forced behind each part of the
    marker that has begun, in tokens or bytes (``phase.lead_in``). ``parameters`` has all of the law's, by name.
    ``prefix`` is what ``prefix.encode_prefix`` gives, of the positions that the prompt ends with; None as a rule.
    """

    law: str
    normalise_over: str
    # A dictionary has no hash; equality still compares it.
    parameters: dict[str, ParameterValue] = field(hash=False)
    temperature: float
    top_k: int
    top_p: float
    min_p: float
    max_topk: int
    marker: tuple[int, ...]
    marker_text: str
    lead_ins: LeadIns
    answer_prefix: tuple[int, ...]
    answer_budget: int
    stop: int
    switches: int
    switch_window: int
    budget: int
    cold_entropy: float
    cold_length: int
    seed: int
    record_entropy: bool
    prefix: dict | None = None

    @cached_property
    def carries_embedding(self) -> bool:
        """Whether its trace carries drawn embeddings."""
        return LAWS[self.law].carries_embedding(self.parameters)

    @property
    def rebuilds_embedding(self) -> bool:
        """Whether its drawn embeddings are rebuilt from their seeds."""
        return LAWS[self.law].draws_embedding and not self.carries_embedding

    @property
    def soft_prefix_length(self) -> int:
        """Positions of the response that the prompt ends with."""
        return 0 if self.prefix is None else self.prefix["length"]

    def as_dict(self) -> dict:
        """The resolved form stored back into ``extra_args``.

        vLLM copies it deeply, which a text of the many small lists makes cheap.
        """
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return values | {"lead_ins": json.dumps(self.lead_ins)}

    @classmethod
    def from_dict(cls, values: dict) -> "SoftRequest":
        """Read what ``as_dict`` gave (tuples come back as lists)."""
        lists = {name: tuple(values[name]) for name in ("marker", "answer_prefix")}
        return cls(**values | lists | {"lead_ins": tuple(map(tuple, json.loads(values["lead_ins"])))})


def resolve(
    values: dict,
    *,
    max_tokens: int,
    width: int,
    carries_embeddings: bool = False,
    stop: int | None = None,
    tokenize: Callable[[str], list[int]] | None,
    spell: Callable[[tuple[int, ...], str], LeadIns] | None = None,
) -> SoftRequest:
    """Validate the user's settings of one request and resolve what depends on tokenizer and engine.

    Args:
        values: ``extra_args["softthink"]`` as the user wrote it.
        max_tokens: cap of the response, in tokens, a prefix included; the default soft budget.
        width: candidate slots of the engine.
        stop: the token id that ends a request; None if nothing but max_tokens does.
        carries_embeddings: whether the engine keeps drawn embeddings and returns them in traces.
        tokenize: text to token ids without special tokens; None if the engine has no tokenizer.
        spell: as ``lead_ins_of`` a tokenizer: lead-in and marker to what is forced; read where the marker is a text.

    Raises:
        ValueError: naming the key, the value and the fix.
    """
    settings: RequestSettings = parse(RequestSettings, values, EXTRA_ARGS_KEY)
    if settings.filter.max_topk > width:
        raise ValueError(
            f"softthink.filter.max_topk={settings.filter.max_topk} exceeds the engine's {width} candidate slots; raise "
            f"additional_config.softthink.max_candidates or lower max_topk"
        )
    _check_law(settings.law, width, carries_embeddings)
    law = LAWS[settings.law.name]
    phase = settings.phase
    marker = _tokens("end_of_thinking", phase.end_of_thinking, tokenize, MAX_MARKER)
    prefix = () if phase.answer_prefix is None else _tokens("answer_prefix", phase.answer_prefix, tokenize, MAX_FORCED)
    whole = marker + prefix if phase.lead_in is None else phase.lead_in
    lead_in = _tokens("lead_in", whole, tokenize, MAX_FORCED)
    if phase.answer_budget is not None and stop is None:
        raise ValueError(
            f"softthink.phase.answer_budget={phase.answer_budget} ends the request with its stop token, and it has "
            "none: do not ignore the end-of-sequence token, or give stop_token_ids"
        )
    budget = settings.phase.budget if settings.phase.budget is not None else max_tokens
    if settings.phase.budget is not None and budget > max_tokens:
        raise ValueError(
            f"softthink.phase.budget={budget} exceeds the response length of {max_tokens} tokens; lower the budget or "
            "raise the response length (max_tokens)"
        )
    seed = settings.seed if settings.seed is not None else secrets.randbits(63)
    return SoftRequest(
        law=law.name,
        normalise_over=settings.law.normaliser,
        parameters=settings.law.parameters,
        temperature=settings.filter.temperature,
        top_k=0 if law.whole_vocabulary else settings.filter.top_k,
        top_p=settings.filter.top_p,
        min_p=max(settings.filter.min_p, law.smallest_share),
        max_topk=settings.filter.max_topk,
        marker=marker,
        marker_text=phase.marker_text,
        lead_ins=spell(lead_in, phase.marker_text) if phase.marker_text else lead_ins_by_tokens(lead_in, marker),
        answer_prefix=prefix,
        answer_budget=phase.answer_budget or 0,
        stop=NO_STOP if stop is None else stop,
        switches=phase.switches,
        switch_window=phase.switch_window,
        budget=budget,
        cold_entropy=settings.phase.cold_entropy,
        cold_length=settings.phase.cold_length,
        seed=seed,
        record_entropy=settings.record_entropy,
        prefix=None if settings.prefix is None else settings.prefix.model_dump(),
    )


def _tokens(
    key: str, value: str | Sequence[int], tokenize: Callable[[str], list[int]] | None, longest: int
) -> tuple[int, ...]:
    if isinstance(value, str) and tokenize is None:
        raise ValueError(
            f"softthink.phase.{key}={shown(value)} is a text, but the engine has no tokenizer (skip_tokenizer_init); "
            "give its token ids"
        )
    tokens = tuple(tokenize(value) if isinstance(value, str) else value)
    if not 1 <= len(tokens) <= longest:
        raise ValueError(f"softthink.phase.{key} is {len(tokens)} tokens long; use 1 to {longest}")
    return tokens


def _check_law(law: LawSettings, width: int, carries_embeddings: bool) -> None:
    if law.slots > width:
        raise ValueError(
            f"softthink.law={law.model_dump(exclude_none=True)} takes {law.slots} candidate slots, and the engine has "
            f"{width}; raise additional_config.softthink.max_candidates, or lower what the law takes"
        )
    if law.carries_embedding and not carries_embeddings:
        raise ValueError(
            f"softthink.law={law.model_dump(exclude_none=True)}: the engine keeps no drawn embeddings; set "
            "additional_config.softthink.carries_embeddings=true, or law.normalise_over=candidates with law.fed=seed"
        )
