"""The pure parts: flattening traces, feeding mixtures and picking logits, each against a plain loop."""

import pytest
import torch

from verl_softthink.laws import NO_CANDIDATE
from verl_softthink.likelihood.fields import TRACE_FIELDS
from verl_softthink.likelihood.positions import drawn_positions
from verl_softthink.likelihood.scoring import pick
from verl_softthink.likelihood.soft_inputs import Mixtures, SoftInputs

from .samples import jagged, make_batch, random_samples, settings


def flattened(samples, values):
    batch = make_batch(samples, values, packed=True)
    fields = {name: batch[name] for name in TRACE_FIELDS}
    return drawn_positions(fields, batch["input_ids"], batch["response_mask"]), batch


def test_positions_are_those_of_a_loop():
    values = settings("gumbel")
    samples = random_samples("gumbel", values)
    positions, batch = flattened(samples, values)
    width = max(len(s.prompt) + len(s.response) for s in samples)
    packed_ids, padded_ids = batch["input_ids"].values(), batch["input_ids"].to_padded_tensor(0).reshape(-1)
    found = 0
    for row, sample in enumerate(samples):
        for position, token in enumerate(sample.response):
            if not sample.drawn[position]:
                continue
            assert (positions.row[found], positions.column[found]) == (row, len(sample.prompt) + position)
            assert positions.soft[found] == sample.soft[position]
            assert packed_ids[positions.packed()[found]] == positions.shown[found] == token
            assert padded_ids[positions.padded(width)[found]] == token
            assert torch.equal(positions.action.ids[found], sample.ids[position].long())
            assert torch.equal(positions.action.values[found], sample.values[position])
            found += 1
    assert len(positions) == found > 10


def test_a_batch_without_drawn_positions_gives_none():
    values = settings("gumbel")
    positions, _ = flattened([random_samples("gumbel", values)[1]], values)
    assert len(positions) == 0


@pytest.mark.parametrize("detach", [False, True])
def test_mixtures_and_their_gradients_are_those_of_a_loop(detach):
    torch.manual_seed(0)
    embedding = torch.nn.Embedding(11, 4)
    soft_inputs = SoftInputs(embedding)
    ids = torch.tensor([[1, 2, 3], [4, 5, 6]])
    candidates = torch.tensor([[7, 8, NO_CANDIDATE], [4, 9, 1]])
    weights = torch.tensor([[0.3, 0.7, 0.0], [0.2, 0.5, 0.3]])
    soft_inputs.feed(Mixtures(torch.tensor([1, 3]), candidates, weights, detach))
    direction = torch.randn(2, 3, 4)
    output = embedding(ids)
    soft_inputs.require_fed()
    (output * direction).sum().backward()

    table = embedding.weight.detach().clone().requires_grad_()
    expected = [[table[i] for i in row] for row in ids.tolist()]
    mixed = [0.3 * table[7] + 0.7 * table[8], 0.2 * table[4] + 0.5 * table[9] + 0.3 * table[1]]
    expected[0][1], expected[1][0] = [row.detach() if detach else row for row in mixed]
    stacked = torch.stack([torch.stack(row) for row in expected])
    (stacked * direction).sum().backward()
    torch.testing.assert_close(output, stacked)
    torch.testing.assert_close(embedding.weight.grad, table.grad)


def test_mixtures_serve_one_lookup():
    embedding = torch.nn.Embedding(11, 4)
    soft_inputs = SoftInputs(embedding)
    soft_inputs.feed(Mixtures(torch.tensor([0]), torch.tensor([[7]]), torch.ones(1, 1), False))
    ids = torch.tensor([[1, 2]])
    assert torch.equal(embedding(ids)[0, 0], embedding.weight[7])
    assert torch.equal(embedding(ids), embedding.weight[ids])


def test_a_model_that_bypasses_its_embedding_module_is_an_error():
    embedding = torch.nn.Embedding(11, 4)
    soft_inputs = SoftInputs(embedding)
    soft_inputs.feed(Mixtures(torch.tensor([0]), torch.tensor([[7]]), torch.ones(1, 1), False))
    embedding.weight[torch.tensor([[1, 2]])]
    with pytest.raises(RuntimeError, match=r"did not look its inputs up in get_input_embeddings\(\)"):
        soft_inputs.require_fed()


def test_a_candidate_outside_the_table_is_an_error():
    soft_inputs = SoftInputs(torch.nn.Embedding(11, 4))
    with pytest.raises(IndexError, match="token id 11, but the embedding table has 11 rows"):
        soft_inputs.feed(Mixtures(torch.tensor([0]), torch.tensor([[11]]), torch.ones(1, 1), False))


@pytest.mark.parametrize("shape", [(1, 8), (2, 4)])
def test_picked_logits_have_a_sparse_gradient_equal_to_indexing(shape):
    torch.manual_seed(0)
    logits = torch.randn(*shape, 13, requires_grad=True)
    rows, ids = torch.tensor([0, 5, 7]), torch.tensor([[1, 2, 2], [0, 12, 3], [4, 5, 6]])
    direction = torch.randn(3, 3)
    expected = logits.reshape(-1, 13)[rows[:, None], ids]
    dense = torch.autograd.grad((expected * direction).sum(), logits)[0]
    picked = pick(logits, rows, ids)
    assert torch.equal(picked, expected)
    sparse = torch.autograd.grad((picked * direction).sum(), logits)[0]
    assert sparse.is_sparse
    torch.testing.assert_close(sparse.to_dense(), dense)


def test_rows_whose_mask_is_zero_have_no_trace():
    values = settings("gumbel")
    samples = random_samples("gumbel", values)
    batch = make_batch(samples, values, packed=True)
    fields = {name: batch[name] for name in TRACE_FIELDS}
    masks = list(batch["response_mask"].unbind())
    masks[2] = torch.zeros_like(masks[2])
    positions = drawn_positions(fields, batch["input_ids"], jagged(masks))
    assert 2 not in positions.row
    assert {0, 3} == set(positions.row.tolist())
