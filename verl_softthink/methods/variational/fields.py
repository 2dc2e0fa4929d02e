"""What a row of posterior traces carries beside verl's fields."""

AGENT_NAME = "softthink_posterior_agent"
#: [P] int64: the prompt that the row is not trained on (the one with the hint; in a posterior step the one without).
OTHER_PROMPT = "softthink_other_prompt"
#: [T] int64, 1 at the response's tokens that belong to the trace z; the others are its answer.
TRACE = "softthink_trace"
#: [T] float32: log-probs of the response after ``OTHER_PROMPT``.
OTHER_LOG_PROBS = "softthink_other_log_probs"
#: [T] float32: the trace's weight in its group, repeated.
WEIGHT = "softthink_weight"
#: Key of ``extra_fields``: whether the trace was rolled out without the hint.
FROM_MODEL = "softthink_from_model"
#: Key of ``extra_fields``: the hint's text.
HINT_TEXT = "softthink_hint"
