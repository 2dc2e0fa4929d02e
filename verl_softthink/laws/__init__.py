"""The laws of soft tokens: one file each, ``sample`` and ``log_prob`` side by side, in plain torch.

logits --select_candidates--> candidates --law.sample--> action --law.weights--> mixture of embeddings
other logits, action.ids --candidate_log_probs--> l --law.log_prob(action, l)--> one number per position
"""

from verl_softthink.laws.action import NO_CANDIDATE, Action, Candidates
from verl_softthink.laws.base import Law
from verl_softthink.laws.candidates import FilterParameters, candidate_log_probs, select_candidates
from verl_softthink.laws.concrete import ConcreteLaw
from verl_softthink.laws.deterministic import DeterministicLaw
from verl_softthink.laws.dirichlet import DirichletLaw
from verl_softthink.laws.discrete import DiscreteLaw
from verl_softthink.laws.gaussian import GaussianLaw
from verl_softthink.laws.gumbel import GumbelLaw
from verl_softthink.laws.gumbel_reference import GumbelReferenceLaw
from verl_softthink.laws.mixture import Mixture
from verl_softthink.laws.mixture_of_inputs import MixtureOfInputsLaw
from verl_softthink.laws.multiplex import MultiplexLaw
from verl_softthink.laws.parameters import LawParameters, Parameter, ParameterValue
from verl_softthink.laws.registry import LawRegistry

LAWS = LawRegistry(
    (
        DiscreteLaw(),
        DeterministicLaw(),
        GumbelLaw(),
        ConcreteLaw(),
        GumbelReferenceLaw(),
        GaussianLaw(),
        MultiplexLaw(),
        DirichletLaw(),
        MixtureOfInputsLaw(),
    )
)
#: The law of a request that names none, and that of ordinary tokens.
DEFAULT, DISCRETE = GumbelLaw.name, DiscreteLaw.name


def get_law(name: str) -> Law:
    """The law of that name, ours or an installed distribution's (``registry.py``).

    Raises:
        ValueError: when no such law exists, or the installed one cannot be used.
    """
    if name not in LAWS:
        raise ValueError(f"softthink.law.name={name!r} is unknown; use one of {', '.join(sorted(LAWS))}")
    return LAWS[name]


__all__ = [
    "DEFAULT",
    "DISCRETE",
    "LAWS",
    "NO_CANDIDATE",
    "Action",
    "Candidates",
    "FilterParameters",
    "Law",
    "LawParameters",
    "Mixture",
    "Parameter",
    "ParameterValue",
    "candidate_log_probs",
    "get_law",
    "select_candidates",
]
