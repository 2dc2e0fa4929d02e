"""Evaluation of a checkpoint: pass@k of hard and soft inference on the real engine, with confidence intervals."""
