"""What a batch carries for RePro; imports nothing but torch's types, so that driver and engine share it."""

#: Key of the batch's non-tensor request: {"segments": k, "lead_in": [token ids]}. Only a pass with it scores answers.
REQUEST = "softthink_repro"
#: [T + 1] int64 per response: ``segments.cut_kinds``.
KINDS = "softthink_repro_kinds"
#: [A] int64 per response: the right answer's tokens; the one id ``NO_ANSWER`` where there is none to score.
ANSWER = "softthink_repro_answer"
NO_ANSWER = -1
#: Returned by the pass: [P] int64 cuts and [P] float32 mean log-likelihoods in nats, and [1] float32 seconds per
#: response that scoring took. A response without an answer to score returns the single cut 0 with likelihood 0.
CUTS = "softthink_repro_cuts"
SURROGATE = "softthink_repro_surrogate"
SECONDS = "softthink_repro_seconds"
#: For the rollout dump, per response token: the number of its piece (-1: none), and that piece's reward (0: none).
PIECE = "softthink_repro_piece"
REWARD = "softthink_repro_reward"
