"""Names shared by the processes of a run; imports nothing, so that each of them can read it."""

ROLLOUT_NAME = "softthink_vllm"
AGENT_NAME = "softthink_agent"
TRAINER_MODE = "softthink_sync"
#: Key of ``TokenOutput.extra_fields`` that carries packed rows [T, 4 + 2K + H] int32 from the server to the agent loop.
ROWS_FIELD = "softthink_rows"
#: Per-position fields of a trajectory beside those that the likelihood engine reads.
ENTROPY, FORCED = "softthink_entropy", "softthink_forced"
#: Key of a trajectory's ``extra_fields``: why thinking ended.
END_REASON = "softthink_end_reason"
