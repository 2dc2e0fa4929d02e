"""What a step must compute is known from the requests alive, however many there are of a kind."""

import pytest
import torch
from oracles.phase_loop import request

from verl_softthink.rollout.state import SoftState


@pytest.fixture
def state():
    return SoftState(slots=8, length=4, width=3, device=torch.device("cpu"))


def known(state):
    return state.laws_alive, state.switching, state.needs_entropy, state.answer_budgets


def test_the_last_request_of_a_kind_takes_its_work_along(state):
    nothing = known(state)
    plain, switching = request(end_of_thinking=[1]), request(end_of_thinking=[1], switches=1)
    for number in range(3):
        state.add(f"plain{number}", plain)
    alone = known(state)
    for number in range(2):
        state.add(f"switching{number}", switching)
    both = known(state)
    assert both != alone and both[1:3] == (True, True)
    state.drop("switching0")
    state.add("switching1", switching)
    assert known(state) == both
    state.drop("switching1")
    assert known(state) == alone
    for number in range(3):
        state.drop(f"plain{number}")
    state.drop("plain0")
    assert known(state) == nothing and len(state) == 0


def test_slots_come_back(state):
    for number in range(20):
        state.add(f"r{number}", request(end_of_thinking=[1]))
        assert state.slot(f"r{number}") is not None
        state.drop(f"r{number}")
    for number in range(8):
        state.add(f"s{number}", request(end_of_thinking=[1]))
    with pytest.raises(RuntimeError, match="more than 8 soft requests are alive; raise max_num_seqs"):
        state.add("one more", request(end_of_thinking=[1]))
