"""Soft rollouts: phase control and the soft step in plain torch, and what carries them into vLLM and verl."""
