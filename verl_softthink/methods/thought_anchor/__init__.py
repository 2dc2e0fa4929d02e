"""Thoughts held near the reference model's: a closed-form divergence of next-token distributions at soft positions."""
