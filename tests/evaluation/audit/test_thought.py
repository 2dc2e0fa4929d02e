"""Thoughts taken out of traces of every law and put back: what the engine would feed stays the same."""

from dataclasses import replace

import pytest
import torch
from support.thoughts import ANSWER, ANSWER_PREFIX, MARKER, WIDTH, response

from verl_softthink.config.settings import LawSettings
from verl_softthink.evaluation.audit.interventions import one_hot, pause, uniform
from verl_softthink.evaluation.audit.thought import Prefix, beginning, without_thought
from verl_softthink.laws import LAWS, NO_CANDIDATE, Action, Mixture
from verl_softthink.rollout.phase.history import resumed_phase
from verl_softthink.rollout.phase.machine import ANSWERING
from verl_softthink.rollout.prefix import decode_prefix, encode_prefix
from verl_softthink.rollout.request import resolve
from verl_softthink.thinking import EndOfThinking

LENGTH = 6
GUMBEL = LawSettings(name="gumbel", tau=0.7)


def begun(law, *, by_marker=True, length=LENGTH):
    trace, tokens = response(law, length, by_marker=by_marker)
    return beginning(trace, tokens, law, len(MARKER)), trace, tokens


def fed_weights(prefix: Prefix, trace=None) -> torch.Tensor:
    """[P, 30] weight of every token in what is fed, as the engine makes it of a prefix."""
    trace = prefix.trace if trace is None else trace
    action = Action(ids=trace.ids.long(), values=trace.values)
    weights = LAWS[prefix.law.name].weights(action, prefix.law.columns(len(trace)))
    weights = torch.where(action.mask & trace.soft[:, None], weights, 0.0)
    return torch.zeros(len(trace), 30).scatter_add(-1, action.ids.clamp(min=0), weights)


def check(prefix: Prefix) -> None:
    """What the engine asks of a prefix, and that it would answer next."""
    trace = decode_prefix(encode_prefix(prefix.trace, prefix.law))
    used = trace.ids != NO_CANDIDATE
    assert (used.any(-1) == trace.drawn).all(), "candidates exactly where something was drawn"
    assert not (used[:, 1:] & ~used[:, :-1]).any(), "candidates in the first slots"
    assert trace.values.isfinite().all() and not trace.values[~used].any()
    shown = torch.tensor(prefix.tokens)
    assert ((trace.ids == shown[:, None]).any(-1) | ~trace.drawn).all(), "the shown token is a candidate"
    sums = fed_weights(prefix, trace).sum(-1)
    torch.testing.assert_close(sums, trace.soft.float())
    assert (trace.scale > 0).any() == LAWS[prefix.law.name].draws_embedding == (trace.fed is not None)
    phase = {"end_of_thinking": list(MARKER), "answer_prefix": list(ANSWER_PREFIX)}
    request = resolve({"law": {"name": "gumbel"}, "phase": phase}, max_tokens=30, width=WIDTH, tokenize=None)
    begun = EndOfThinking(None, request.marker).begun(prefix.tokens[: trace.end_of_thinking])
    state = resumed_phase(trace, prefix.tokens, request, begun)
    assert (state.phase, state.answered) == (ANSWERING, 0)
    assert prefix.tokens[prefix.ending :] == [*MARKER, *ANSWER_PREFIX]


@pytest.mark.parametrize("by_marker", [True, False])
@pytest.mark.parametrize("law", sorted(LAWS))
def test_a_thought_put_back_as_it_is_is_fed_as_it_was(law, by_marker):
    found, trace, tokens = begun(LawSettings(name=law), by_marker=by_marker)
    assert found.positions.tolist() == list(range(LENGTH)), "the marker's pieces are no thought"
    assert found.prefix.tokens == tokens[: -len(ANSWER)] and len(found.thought) == LENGTH
    back = found.with_thought(found.thought)
    check(back)
    torch.testing.assert_close(fed_weights(back), fed_weights(found.prefix), rtol=1e-5, atol=1e-6)
    if trace.fed is not None:
        assert torch.equal(back.trace.fed, trace.fed[: len(back.tokens)]) and back.law == found.prefix.law
    assert back.tokens == found.prefix.tokens and back.trace.end_reason == trace.end_reason


@pytest.mark.parametrize("by_marker", [True, False])
@pytest.mark.parametrize("law", sorted(LAWS))
def test_changed_thoughts_can_be_fed_and_leave_the_ending_as_it_was(law, by_marker):
    found, _, _ = begun(LawSettings(name=law), by_marker=by_marker)
    thought, before = found.thought, fed_weights(found.prefix)
    changed = {
        "one_hot": one_hot(thought),
        "uniform": uniform(thought),
        "pause": pause(9, LENGTH),
        "reversed": thought.take(torch.arange(LENGTH).flip(0)),
    }
    for name, one in changed.items():
        prefix = found.with_thought(one)
        check(prefix)
        now = fed_weights(prefix)
        torch.testing.assert_close(now[LENGTH:], before[LENGTH:], rtol=1e-5, atol=1e-6)
        if name == "reversed":
            torch.testing.assert_close(now[:LENGTH], before[:LENGTH].flip(0), rtol=1e-5, atol=1e-6)
            if thought.fed is not None:
                assert torch.equal(prefix.trace.fed[:LENGTH], thought.fed.flip(0))
        else:
            assert prefix.trace.fed is None


def test_a_thought_of_tokens_between_soft_positions_keeps_them():
    """As after a switch: positions 2 and 3 are ordinary tokens, which no change touches."""
    trace, tokens = response(GUMBEL, LENGTH, by_marker=False)
    flags = {name: getattr(trace, name).clone() for name in ("soft", "drawn", "discrete")}
    for name, value in (("soft", False), ("drawn", False), ("discrete", True)):
        flags[name][2:4] = value
    trace = replace(trace, **flags, ids=trace.ids.masked_fill(flags["discrete"][:, None], NO_CANDIDATE))
    found = beginning(trace, tokens, GUMBEL, len(MARKER))
    assert found.positions.tolist() == [0, 1, 4, 5]
    prefix = found.with_thought(pause(9, 4))
    assert prefix.tokens[:LENGTH] == [9, 9, *tokens[2:4], 9, 9] and prefix.trace.discrete[2:4].all()


def test_a_marker_of_ordinary_tokens_ends_the_thought_before_it():
    trace, tokens = response(GUMBEL, LENGTH)
    flags = {name: getattr(trace, name).clone() for name in ("soft", "drawn", "discrete")}
    end = slice(LENGTH, LENGTH + len(MARKER))
    flags["soft"][end], flags["drawn"][end], flags["discrete"][end] = False, False, True
    found = beginning(replace(trace, **flags), tokens, GUMBEL, len(MARKER))
    assert (found.prefix.ending, found.positions.tolist()) == (LENGTH, list(range(LENGTH)))


def test_responses_without_an_answer_have_no_beginning():
    trace, tokens = response(GUMBEL, LENGTH)
    for length in range(len(trace) - len(ANSWER) + 1):
        assert beginning(trace.truncated(length), tokens[:length], GUMBEL, len(MARKER)) is None
    assert beginning(trace, tokens, GUMBEL, len(MARKER)) is not None
    assert beginning(replace(trace, end_reason="bad_logits"), tokens, GUMBEL, len(MARKER)) is None


def test_a_token_whose_weight_was_rounded_away_is_still_shown():
    """Of two candidates the shown one weighs nothing, as an installed law may leave it."""
    found, _, _ = begun(GUMBEL)
    ids = torch.tensor([[4, 7]] * LENGTH)
    mixture = Mixture(ids=ids, weights=torch.tensor([[1.0, 0.0]] * LENGTH))
    prefix = found.with_thought(replace(found.thought, tokens=ids[:, 1], mixture=mixture))
    check(prefix)
    weights = fed_weights(prefix)[:LENGTH]
    assert (weights[:, 4] == 1).all() and (weights[:, 7] < 1e-37).all()


def test_an_empty_thought_stays_empty():
    found, _, _ = begun(GUMBEL, by_marker=False, length=0)
    for thought in (found.thought, one_hot(found.thought), uniform(found.thought), pause(9, 0)):
        assert len(thought) == 0
        check(found.with_thought(thought))


def test_without_a_thought_the_answer_is_forced_at_once():
    prefix = without_thought([*MARKER, *ANSWER_PREFIX])
    check(prefix)
    assert len(prefix.trace) == len(prefix.tokens) == 3 and not prefix.trace.soft.any()
