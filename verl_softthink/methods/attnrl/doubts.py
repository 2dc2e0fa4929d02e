"""What tree branching looks for in responses, and a model may never write."""

from verl_softthink.methods.responses import Responses


def doubts(responses: Responses, settings) -> list[str]:
    """A sentence where no response has a separator: its single tokens are the steps then."""
    method = settings.attnrl
    # Branching by entropy measures no steps.
    if method.branching != "attention":
        return []
    tokens = [piece for pieces in responses.pieces for piece in pieces]
    if any(separator in token for separator in method.separators for token in tokens):
        return []
    return [
        f"softthink.attnrl.separators={list(method.separators)!r}: no token of {responses.noun} contains one, so every "
        "token is a step of its own, and branch points are tokens; list separators that this model writes"
    ]
