"""The published pipeline, offline: sample traces from the posterior, verify, score and weigh them, and fine-tune on the
result with verl's own SFT trainer. ``pipeline.py`` lists the stages; ``verl-softthink data variational`` runs them."""
