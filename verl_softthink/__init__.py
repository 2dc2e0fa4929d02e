"""Soft-token reasoning and process-level reinforcement learning for stock verl and vLLM."""

__version__ = "0.1.0"
