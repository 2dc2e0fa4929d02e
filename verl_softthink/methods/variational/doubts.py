"""What posterior thoughts look for in responses, and a model may never write."""

from verl_softthink.methods.responses import Responses, unmarked, unwritten_answer
from verl_softthink.methods.variational.settings import ANSWER


def doubts(responses: Responses, settings) -> list[str]:
    """A sentence for each text that no response contains; none where whole responses are the thoughts."""
    method = settings.variational
    if not method.cuts_thoughts:
        return []
    found = unmarked(responses, settings, "no thought has an answer behind it, and the reward of each is 0")
    if method.answer != "accuracy":
        # In training a thought with a marker is followed by this text in any case; the doctor sees the model's own.
        key = "softthink.variational.answer_template"
        found += unwritten_answer(responses, key, method.answer_template, ANSWER)
    return found
