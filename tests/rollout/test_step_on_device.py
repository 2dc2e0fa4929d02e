"""The soft step never waits for its device: it runs on meta tensors, which have no values to look at."""

import pytest
import torch

from verl_softthink.laws import LAWS
from verl_softthink.rollout.embedding import TableEmbedding, mixture_embeddings
from verl_softthink.rollout.phase.markers import text_marker_table
from verl_softthink.rollout.request import resolve
from verl_softthink.rollout.state import SoftState
from verl_softthink.rollout.step import soft_step

VOCABULARY, WIDTH, HIDDEN, SLOTS, LENGTH = 40, 4, 8, 6, 20
TEXT = "</think>"


def request(law: dict, **phase):
    values = {
        "law": law,
        "filter": {"top_k": 6, "top_p": 0.9, "min_p": 0.01, "max_topk": WIDTH, "temperature": 0.8},
        "phase": {"end_of_thinking": [3, 4], "budget": 10} | phase,
        "seed": 5,
        "record_entropy": True,
    }
    return resolve(
        values,
        max_tokens=LENGTH,
        width=WIDTH,
        carries_embeddings=True,
        stop=1,
        tokenize=lambda text: [3, 4],
        spell=lambda lead_in, marker: (lead_in,) * len(marker),
    )


REQUESTS = {
    "all_laws": [request({"name": name}) for name in LAWS],
    "over_candidates": [request({"name": "gaussian", "normalise_over": "candidates", "fed": "seed"})],
    "noise_among_candidates": [
        request({"name": "gaussian", "normalise_over": "candidates", "fed": "seed", "covariance": "candidates"})
    ],
    "answers": [request({"name": "gumbel"}, answer_prefix=[7, 8], answer_budget=4)],
    "cold_and_switching": [
        request({"name": "concrete"}, cold_entropy=0.1, cold_length=2, switches=3, switch_window=2),
    ],
    "text_marker": [request({"name": "gumbel"}, end_of_thinking=TEXT)],
}


def text_table(text: str) -> torch.Tensor:
    """The automaton of a text marker, of which two tokens write a part."""
    return text_marker_table(text.encode(), [b"</", b"think>", *(b"w" for _ in range(VOCABULARY - 2))])


def soft_state(requests, device) -> SoftState:
    state = SoftState(
        slots=len(LAWS), length=LENGTH, width=WIDTH, device=torch.device(device), fed=(HIDDEN, torch.float32)
    )
    for number, one in enumerate(requests):
        if one.marker_text not in state.markers:
            state.markers.add(one.marker_text, text_table(one.marker_text).to(device))
        state.add(f"r{number}", one)
    return state


def take_step(state: SoftState, device, logits=None):
    rows = len(state) + 1
    slots = torch.tensor([*range(len(state)), state.trash], device=device)
    index = torch.full((rows,), 3, device=device)
    table = torch.randn(VOCABULARY, HIDDEN, device=device)
    logits = torch.randn(rows, VOCABULARY, device=device) if logits is None else logits
    result = soft_step(state, logits, slots, index, TableEmbedding(table))
    mixed, soft = mixture_embeddings(state, slots, index, TableEmbedding(table))
    return result, mixed, soft


@pytest.mark.parametrize("name", REQUESTS)
def test_no_step_reads_a_value_back(name):
    """Neither does taking a request in, and no tensor is made on another device."""
    result, mixed, soft = take_step(soft_state(REQUESTS[name], "meta"), "meta")
    assert result.rows.device.type == result.token.device.type == mixed.device.type == "meta"
    assert result.rows.shape[0] == soft.shape[0] == len(REQUESTS[name]) + 1


def test_a_read_would_be_seen():
    values = torch.ones(3, device="meta")
    with pytest.raises(RuntimeError, match="meta"):
        values.sum().item()
    with pytest.raises(NotImplementedError, match="nonzero"):
        values[values > 0]


def test_the_compiled_step_is_one_graph_with_the_same_results(monkeypatch):
    """Captured whole, without a break for a value; a batch of another size is not another graph."""
    monkeypatch.setattr(torch._dynamo.config, "disable", False)
    monkeypatch.setattr(torch._dynamo.config, "error_on_recompile", True)
    plain, compiled = (soft_state(REQUESTS["answers"] * 3, "cpu") for _ in range(2))
    step = torch.compile(soft_step, backend="aot_eager", fullgraph=True, dynamic=True)
    torch.manual_seed(0)
    for index, rows in enumerate((4, 4, 3)):
        slots = torch.tensor([0, 1, 2, plain.trash])[-rows:]
        arguments = torch.randn(rows, VOCABULARY), slots, torch.full((rows,), index)
        expected, ours = soft_step(plain, *arguments), step(compiled, *arguments)
        for name in ("overrides", "token", "log_prob", "rows"):
            assert torch.equal(getattr(ours, name), getattr(expected, name))
    assert torch.equal(compiled.ids, plain.ids)
    assert torch.equal(compiled.values, plain.values)
