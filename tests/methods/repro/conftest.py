"""The engines of the likelihood tests: verl on a CPU, one gloo process, tiny models."""

from likelihood.conftest import model_path, process_group, shared_engine  # noqa: F401
from support.traces import soft_trace, tokenizer  # noqa: F401
