"""The tokenizer of the pages, and the engines of the likelihood tests."""

from likelihood.conftest import model_path, process_group, shared_engine  # noqa: F401
from support.traces import tokenizer  # noqa: F401
