"""The tokenizer of the pages."""

from support.traces import tokenizer  # noqa: F401
