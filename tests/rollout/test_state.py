"""What a step must compute is known from the requests alive, however many there are of a kind."""

import pytest
import torch
from oracles.phase_loop import request
from support.hostile_requests import hostile_requests

from verl_softthink.laws import LAWS
from verl_softthink.rollout.embedding import TableEmbedding, mixture_embeddings
from verl_softthink.rollout.phase.markers import text_marker_table
from verl_softthink.rollout.request import resolve
from verl_softthink.rollout.settings_table import INTEGERS, NUMBERS
from verl_softthink.rollout.state import SoftState, history_bytes
from verl_softthink.rollout.step import soft_step
from verl_softthink.trace import failure_at, unpack_rows


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


def test_whatever_is_not_refused_fits_the_tables(state):
    """Settings as strangers write them: a sentence that names the key, or a request taken in as it was asked."""
    state = SoftState(slots=2, length=4, width=6, device=torch.device("cpu"), fed=(8, torch.float32))
    taken = 0
    for values in hostile_requests(seed=1, count=3000):
        try:
            found = resolve(
                values,
                max_tokens=12,
                width=6,
                carries_embeddings=True,
                stop=1,
                tokenize=lambda text: [3] * len(text),
                spell=lambda lead_in, marker: (lead_in,) * len(marker.encode()),
            )
        except ValueError as error:
            lines = str(error).encode().decode().split("\n")
            assert all(line.startswith("softthink") and len(line) < 800 for line in lines)
            continue
        # Prefixes, and tokens of another model, are checked by the engine's frontend, which knows the model.
        if found.prefix is not None or max(map(len, (found.marker, found.lead_ins[0], found.answer_prefix))) > 16:
            continue
        taken += 1
        if found.marker_text not in state.markers:
            state.markers.make_room(state.texts_alive)
            state.markers.add(found.marker_text, text_marker_table(found.marker_text.encode(), [b"w"]))
        state.add("r", found)
        held_settings = state.read(torch.tensor([state.slot("r")]))
        for name in INTEGERS:
            if hasattr(found, name) and name not in ("law", "carries_embedding"):
                assert int(held_settings[name]) == getattr(found, name)
        for name in NUMBERS:
            held, asked = float(held_settings[name]), getattr(found, name)
            assert held == pytest.approx(asked, rel=1e-6, abs=0) or 0 < asked < torch.finfo(torch.float32).tiny
            assert (held > 0) == (asked > 0) and held < float("inf")
        state.drop("r")
    assert taken > 1000 and len(state) == 0


def test_the_size_of_a_history_is_known_without_it():
    shape = {"slots": 3, "length": 5, "width": 4, "fed": (8, torch.bfloat16)}
    assert history_bytes(**shape) == SoftState(**shape, device=torch.device("cpu")).nbytes > 4 * 5 * (8 * 4 + 2 * 8)


VOCABULARY, HIDDEN = 6, 8


def soft(**law):
    values = {
        "law": law,
        "filter": {"top_k": 4, "top_p": 1.0, "max_topk": 4},
        "phase": {"end_of_thinking": [5]},
        "seed": 3,
    }
    return resolve(values, max_tokens=8, width=9, carries_embeddings=True, stop=1, tokenize=None)


def step(state, logits, index, embedding):
    slots = torch.tensor([state.slot("r"), state.trash])
    return soft_step(state, logits.expand(2, -1), slots, torch.tensor([index, 0]), embedding)


@pytest.mark.parametrize("name", [law.name for law in LAWS.own])
def test_more_slots_than_tokens_are_left_empty(name):
    state = SoftState(slots=1, length=4, width=9, device=torch.device("cpu"), fed=(HIDDEN, torch.float32))
    state.add("r", soft(name=name))
    trace = unpack_rows(
        step(state, torch.randn(VOCABULARY), 0, TableEmbedding(torch.randn(6, HIDDEN))).rows.numpy()[:1]
    )
    assert trace.ids.shape == (1, 9) and trace.drawn.all() and (trace.ids < VOCABULARY).all()
    assert trace.log_prob.isfinite().all() and trace.values.isfinite().all()


@pytest.mark.parametrize("name", ["gumbel", "dirichlet", "multiplex"])
@pytest.mark.parametrize("broken", [float("nan"), float("inf")])
def test_a_mixture_that_is_not_finite_is_not_fed_and_ends_its_request(name, broken):
    torch.manual_seed(0)
    state = SoftState(slots=2, length=4, width=9, device=torch.device("cpu"))
    state.add("r", soft(name=name))
    state.add("sound", soft(name=name))
    table = torch.randn(VOCABULARY, HIDDEN)
    first = step(state, torch.zeros(VOCABULARY), 0, TableEmbedding(table))
    assert failure_at(first.rows.numpy()) is None
    table[first.rows[0, 4:13].max()] = broken
    at = torch.tensor([state.slot("r")]), torch.tensor([0])
    mixed, fed = mixture_embeddings(state, *at, TableEmbedding(table))
    assert fed.all() and (mixed == 0).all()
    second = step(state, torch.zeros(VOCABULARY), 1, TableEmbedding(table))
    assert failure_at(second.rows.numpy()[:1]) == (0, "bad_draw") and second.token[0] == 1
    assert failure_at(second.rows.numpy()[1:]) is None and int(state.fault[state.slot("sound")]) == 0
    # The next request in the slot begins anew.
    state.drop("r")
    state.add("r", soft(name=name))
    assert failure_at(step(state, torch.zeros(VOCABULARY), 0, TableEmbedding(table)).rows.numpy()) is None


def test_a_density_that_is_not_finite_ends_the_request_where_it_is_drawn():
    state = SoftState(slots=1, length=4, width=9, device=torch.device("cpu"))
    state.add("r", soft(name="gumbel"))
    state.settings.parameters["noise_scale"][:] = 0
    result = step(state, -torch.arange(VOCABULARY).float(), 0, TableEmbedding(torch.randn(6, HIDDEN)))
    assert failure_at(result.rows.numpy()[:1]) == (0, "bad_draw")
    trace = unpack_rows(result.rows.numpy()[:1])
    assert not trace.drawn.any() and trace.values.isfinite().all() and float(trace.log_prob[0]) == 0
