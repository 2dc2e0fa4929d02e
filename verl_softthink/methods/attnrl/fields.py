"""Names of what rows and requests carry beside verl's fields; imports nothing, so driver, engine and loops share it."""

AGENT_NAME = "softthink_branch_agent"
#: What a request for a continuation carries: a dictionary with the following keys.
BRANCH = "softthink_branch"
PROMPT_IDS, PREFIX_IDS, PREFIX_LOG_PROBS = "prompt_ids", "prefix_ids", "prefix_log_probs"
SESSION = "session"
#: The branch's index in its prompt's plan, and the encoded trace of a soft prefix, None for ordinary tokens.
NUMBER, PREFIX_TRACE = "number", "prefix_trace"
#: Key of ``extra_fields`` of an aborted continuation: the reason. Others do not have it.
ABORTED = "softthink_aborted"
#: Per row: [S] int64 tokens of every response step, and [S] float32 their forward context influence.
STEPS = "softthink_steps"
INFLUENCE = "softthink_influence"
#: Key of a batch's non-tensor data: {"layers": indices or None, "heads": indices or None}.
INFLUENCE_OF = "softthink_influence_of"
#: [T] float32 per row: the index of each token's node within its prompt, that node's value, and its advantage.
NODE = "softthink_attnrl_node"
VALUE = "softthink_attnrl_value"
ADVANTAGE = "softthink_attnrl_advantage"
#: [3] float32 per row: V(root), all leaves of the prompt, and those that are initial responses without branches.
ROOT = "softthink_attnrl_root"
