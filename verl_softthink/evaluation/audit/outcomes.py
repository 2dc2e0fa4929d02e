"""What an audit counts of each problem: right answers in every arm, and what its thoughts are made of."""

from dataclasses import asdict, dataclass

from verl_softthink.config.settings import LawSettings
from verl_softthink.laws import LAWS, Action
from verl_softthink.trace import SoftTrace

#: A mixture with this many effective tokens or more is one of several tokens.
SEVERAL = 2.0


@dataclass(frozen=True)
class Mixtures:
    """Counts over the positions of responses.

    Attributes:
        positions: generated.
        soft: those that were fed a mixture, or a drawn embedding.
        effective: sum of the effective tokens of the soft ones.
        several, single: soft ones with ``SEVERAL`` effective tokens or more, and with one candidate.
    """

    positions: int = 0
    soft: int = 0
    effective: float = 0.0
    several: int = 0
    single: int = 0

    @classmethod
    def of_trace(cls, trace: SoftTrace, law: LawSettings) -> "Mixtures":
        """Of one response; of a drawn embedding its candidates count (``Law.mixture``)."""
        soft = trace.soft
        action = Action(ids=trace.ids[soft].long(), values=trace.values[soft])
        mixture = LAWS[law.name].mixture(action, law.columns(len(action.ids)))
        effective = mixture.effective_tokens.double()
        return cls(
            positions=len(trace),
            soft=int(soft.sum()),
            effective=float(effective.sum()),
            several=int((effective >= SEVERAL).sum()),
            single=int((mixture.tokens == 1).sum()),
        )

    def __add__(self, other: "Mixtures") -> "Mixtures":
        mine, theirs = asdict(self), asdict(other)
        return Mixtures(**{name: mine[name] + theirs[name] for name in mine})


@dataclass(frozen=True)
class AuditedResponse:
    """One thought of a problem.

    Attributes:
        right: arm -> whether its answer is right; ``sampled`` is the first answer.
        answered: whether there was an answer to the thought as it was drawn.
        same: whether that answer came again, token by token, when the thought was handed back as it is.
    """

    right: dict[str, bool]
    answered: bool
    same: bool
    mixtures: Mixtures


@dataclass(frozen=True)
class AuditedProblem:
    """Sums over the thoughts of one problem.

    Attributes:
        problem: its index in the file.
        thoughts: how many.
        right: arm -> right answers.
        answered, same: of the thoughts, as in ``AuditedResponse``.
    """

    problem: int
    thoughts: int
    right: dict[str, int]
    answered: int
    same: int
    mixtures: Mixtures

    @classmethod
    def of(cls, problem: int, responses: list[AuditedResponse]) -> "AuditedProblem":
        """Sum up the thoughts of one problem, at least one."""
        return cls(
            problem=problem,
            thoughts=len(responses),
            right={arm: sum(one.right[arm] for one in responses) for arm in responses[0].right},
            answered=sum(one.answered for one in responses),
            same=sum(one.same for one in responses),
            mixtures=sum((one.mixtures for one in responses), Mixtures()),
        )
