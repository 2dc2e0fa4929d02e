"""Which prompts are worth branching and training on."""

from dataclasses import dataclass


@dataclass
class AttentionFilter:
    """Keeps an all-correct prompt only if its mean influence is above the running mean over all-correct prompts.

    Such a prompt teaches nothing unless a branch fails, which its later steps' looking back makes likelier. The mean is
    over every all-correct prompt so far, kept or not; the first one is judged against nothing and dropped.

    Attributes:
        count: all-correct prompts so far.
        mean: of their mean influences.
    """

    count: int = 0
    mean: float = 0.0

    def keep(self, correct: list[bool], mean_influence: float) -> bool:
        """Whether to branch a prompt; counts it if all its responses are right.

        Args:
            correct: of every initial response, at least one.
            mean_influence: over the steps of all its initial responses.

        Raises:
            ValueError: when there are no responses.
        """
        if not correct:
            raise ValueError("correct is empty: judge a prompt after its initial responses have been scored")
        if not all(correct):
            return True
        above = self.count > 0 and mean_influence > self.mean
        self.count += 1
        self.mean += (mean_influence - self.mean) / self.count
        return above

    def state_dict(self) -> dict[str, float]:
        """For a checkpoint."""
        return {"count": self.count, "mean": self.mean}

    @classmethod
    def from_state(cls, state: dict[str, float]) -> "AttentionFilter":
        """Continue where ``state_dict`` left off."""
        return cls(int(state["count"]), float(state["mean"]))


def has_signal(leaf_values: list[float]) -> bool:
    """Whether a prompt's tree has any advantage other than zero: its leaves' mean is neither 0 nor 1."""
    if not leaf_values:
        return False
    return 0 < sum(leaf_values) / len(leaf_values) < 1
