"""Names of what a batch carries for RePro; the driver and the engine share them."""

#: Key of the batch's non-tensor request: {"segments": k, "lead_in": [token ids]}. Only passes with it score answers.
REQUEST = "softthink_repro"
#: [T + 1] int64 per response: ``cuts.cut_kinds``.
KINDS = "softthink_repro_kinds"
#: [A] int64 per response: tokens of the right answer; the single id ``NO_ANSWER`` where there is none to score.
ANSWER = "softthink_repro_answer"
NO_ANSWER = -1
#: Returned by the pass, per response: [P] int64 cuts, [P] float32 mean log-likelihoods in nats, and [1] float32
#: seconds of scoring. A response without an answer to score returns the single cut 0 with log-likelihood 0.
CUTS = "softthink_repro_cuts"
SURROGATE = "softthink_repro_surrogate"
SECONDS = "softthink_repro_seconds"
#: For the rollout dump, per response token: the index of its piece (-1: none), and that piece's reward (0: none).
PIECE = "softthink_repro_piece"
REWARD = "softthink_repro_reward"
