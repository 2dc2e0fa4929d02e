"""Traces with awkward texts, for the pages."""

from support.traces import soft_trace, tokenizer  # noqa: F401
