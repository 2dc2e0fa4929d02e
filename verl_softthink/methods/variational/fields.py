"""What a row of posterior thoughts carries in addition to verl's fields."""

AGENT_NAME = "softthink_posterior_agent"
#: [P] int64: the prompt that the row is not trained on (the one with the hint; in a posterior step the one without).
OTHER_PROMPT = "softthink_other_prompt"
#: [T] int64, 1 at the response's tokens that belong to the thought; the others are its answer.
THOUGHT = "softthink_thought"
#: [T] float32: log-probs of the response after ``OTHER_PROMPT``.
OTHER_LOG_PROBS = "softthink_other_log_probs"
#: [T] float32: the weight of the thought in its group, repeated.
WEIGHT = "softthink_weight"
#: Key of ``extra_fields``: whether the thought was rolled out without the hint.
FROM_MODEL = "softthink_from_model"
#: Key of ``extra_fields``: the text of the hint.
HINT_TEXT = "softthink_hint"
