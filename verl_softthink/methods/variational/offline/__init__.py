"""The published pipeline, offline: sample thoughts from the posterior, verify, score and weigh them, and fine-tune on
the result with verl's own SFT trainer. ``verl-softthink data variational`` runs the stages of ``pipeline.py``."""
