"""What the rows of a tree carry beside verl's fields; imports nothing, so that driver and agent loops share it."""

AGENT_NAME = "softthink_branch_agent"
#: What a request for a continuation carries: a dictionary with the following keys.
BRANCH = "softthink_branch"
PROMPT_IDS, PREFIX_IDS, PREFIX_LOG_PROBS = "prompt_ids", "prefix_ids", "prefix_log_probs"
SESSION = "session"
#: The number of the branch among its prompt's, and the encoded trace of a soft prefix, None where tokens are ordinary.
NUMBER, PREFIX_TRACE = "number", "prefix_trace"
#: Key of ``extra_fields`` of a continuation that ended without a result: why. Others do not have it.
ABORTED = "softthink_aborted"
#: [T] float32 per row: the number of each token's node within its prompt, that node's value, and its advantage.
NODE = "softthink_attnrl_node"
VALUE = "softthink_attnrl_value"
ADVANTAGE = "softthink_attnrl_advantage"
#: [3] float32 per row: V(root), all leaves of the prompt, and those of its initial responses that were not branched.
ROOT = "softthink_attnrl_root"
