"""Names shared by the processes of a run; imports nothing, so that each of them can read it."""

ROLLOUT_NAME = "softthink_vllm"
AGENT_NAME = "softthink_agent"
TRAINER_MODE = "softthink_sync"
#: Key of ``TokenOutput.extra_fields`` that carries packed rows [T, 4 + 2K + H] int32 from the server to the agent loop.
ROWS_FIELD = "softthink_rows"
#: Column of the prompts: how many rows of the same step had the same prompt before this one.
OCCURRENCE = "softthink_occurrence"
#: Per-position fields of a trajectory beside those that the likelihood engine reads.
ENTROPY, FORCED, HARD = "softthink_entropy", "softthink_forced", "softthink_hard"
#: Keys of a trajectory's ``extra_fields``: why thinking ended; whether the answer was cut at its budget; how many
#: positions of thinking were ordinary tokens.
END_REASON, ANSWER_CUT, HARD_POSITIONS = "softthink_end_reason", "softthink_answer_cut", "softthink_hard_positions"
