"""Names of what a batch carries for the anchor; the driver and the engine share them."""

#: Key of a reference pass's settings: M, how many tokens to return.
WANTED = "softthink_anchor_wanted"
#: [T, min(M, V)] int64 per response: the reference model's most likely tokens at soft positions, else ``NO_CANDIDATE``.
TOKENS = "softthink_anchor_tokens"
#: [T, min(M + 1, V)] float32 per response: their log-probabilities, then that of all other tokens; 0 elsewhere.
LOG_PROBS = "softthink_anchor_log_probs"
#: Key of a training pass's settings: the keyword arguments of ``loss.anchored``.
LOSS = "softthink_anchor_loss"
#: [T] float32 per response, model output of a training pass: the divergence at soft positions, 0 elsewhere.
DIVERGENCE = "softthink_anchor_divergence"
