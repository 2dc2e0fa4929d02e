"""The filter against its slow reference, and the frozen candidates that training renormalises."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from oracles.candidate_filter import soft_thinking_filter

from verl_softthink.laws import NO_CANDIDATE, FilterParameters, candidate_log_probs, select_candidates

# A decision closer than this to its threshold may be flipped by float32 rounding.
MARGIN = 1e-4
property_test = settings(max_examples=100, deadline=None, derandomize=True)


@st.composite
def filtered_rows(draw: st.DrawFn) -> tuple[np.ndarray, FilterParameters, int, int]:
    """(logits [N, V], per-row filter, width, fetch), each row with a filter of its own."""
    rows, vocabulary = draw(st.integers(1, 4)), draw(st.integers(1, 14))
    generator = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    logits = (draw(st.sampled_from([0.5, 2.0, 8.0])) * generator.normal(size=(rows, vocabulary))).astype(np.float32)

    def column(strategy: st.SearchStrategy, dtype: torch.dtype) -> torch.Tensor:
        return torch.tensor([draw(strategy) for _ in range(rows)], dtype=dtype)

    parameters = FilterParameters(
        temperature=column(st.sampled_from([0.3, 0.6, 1.0, 1.7]), torch.float32),
        top_k=column(st.integers(0, vocabulary + 3), torch.int64),
        top_p=column(st.sampled_from([0.1, 0.5, 0.8, 0.95, 1.0]), torch.float32),
        min_p=column(st.sampled_from([0.0, 0.001, 0.05, 0.4]), torch.float32),
        max_topk=column(st.integers(1, 6), torch.int64),
    )
    width = int(parameters.max_topk.max()) + draw(st.integers(0, 2))
    fetch = max(width, int(parameters.top_k.max())) + draw(st.integers(0, 3))
    return logits, parameters, width, fetch


@property_test
@given(filtered_rows())
def test_filter_is_the_published_order(case: tuple[np.ndarray, FilterParameters, int, int]) -> None:
    logits, parameters, width, fetch = case
    candidates = select_candidates(torch.from_numpy(logits), parameters, width=width, fetch=fetch)
    assert candidates.ids.shape == candidates.log_probs.shape == (len(logits), width)
    for row in range(len(logits)):
        settings_of_row = [float(parameters.temperature[row]), int(parameters.top_k[row]), float(parameters.top_p[row])]
        expected = soft_thinking_filter(
            logits[row], *settings_of_row, min_p=float(parameters.min_p[row]), max_topk=int(parameters.max_topk[row])
        )
        assume(expected.margin > MARGIN)
        kept = len(expected.ids)
        assert candidates.ids[row, :kept].tolist() == expected.ids
        assert (candidates.ids[row, kept:] == NO_CANDIDATE).all()
        assert torch.isneginf(candidates.log_probs[row, kept:]).all()
        np.testing.assert_allclose(candidates.log_probs[row, :kept].numpy(), expected.log_probs, rtol=1e-5, atol=2e-5)


def test_filter_on_two_thousand_rows_of_one_batch() -> None:
    """Every stage bites: rows, drawn evenly, where the reference's decisions are not a matter of rounding."""
    rows, vocabulary, width = 2000, 20, 8
    generator = np.random.default_rng(5)
    logits = (generator.choice([0.7, 2.0], size=(rows, 1)) * generator.normal(size=(rows, vocabulary))).astype("f4")
    columns = {
        "temperature": generator.choice([0.6, 1.0, 1.5], size=rows).astype("f4"),
        "top_k": generator.choice([0, 2, 4, 7, 12, 20], size=rows),
        "top_p": generator.choice([0.3, 0.6, 0.8, 0.95, 1.0], size=rows).astype("f4"),
        "min_p": generator.choice([0.0, 0.05, 0.2, 0.5], size=rows).astype("f4"),
        "max_topk": generator.choice([1, 3, 5, 8], size=rows),
    }
    parameters = FilterParameters(**{name: torch.from_numpy(column) for name, column in columns.items()})
    candidates = select_candidates(torch.from_numpy(logits), parameters, width=width, fetch=vocabulary)
    compared = 0
    for row in range(rows):
        expected = soft_thinking_filter(logits[row], **{name: column[row].item() for name, column in columns.items()})
        if expected.margin < MARGIN:
            continue
        compared += 1
        kept = int(candidates.mask[row].sum())
        assert candidates.ids[row, :kept].tolist() == expected.ids
        np.testing.assert_allclose(candidates.log_probs[row, :kept].numpy(), expected.log_probs, rtol=1e-5, atol=2e-5)
    assert compared > 0.95 * rows


def test_top_p_counts_the_mass_left_by_top_k() -> None:
    """Of (.4, .25, .2, .1, .05), top-k 4 leaves .95: .85 / .95 > .86 is reached by three, .85 alone would need four."""
    logits = torch.tensor([0.05, 0.4, 0.1, 0.25, 0.2]).log()[None]
    for top_k, kept in ((4, [1, 3, 4]), (0, [1, 3, 4, 2])):
        parameters = FilterParameters.uniform(1, top_k=top_k, top_p=0.86, max_topk=5)
        ids = select_candidates(logits, parameters, width=5, fetch=5).ids[0].tolist()
        assert [token for token in ids if token != NO_CANDIDATE] == kept


def test_a_candidate_is_cut_where_the_mass_before_it_is_top_p_exactly() -> None:
    """Of two equally likely tokens the second has the first's probability p before it: (p + p) - p = p, bit for bit."""
    logits = torch.zeros(1, 2)
    mass = (logits - logits.logsumexp(-1, keepdim=True)).exp()[0, 0]
    for top_p, kept in ((mass, 1), (torch.nextafter(mass, torch.tensor(1.0)), 2), (mass / 2, 1)):
        parameters = replace(FilterParameters.uniform(1, max_topk=2), top_p=top_p[None])
        assert int(select_candidates(logits, parameters, width=2, fetch=2).mask.sum()) == kept


def test_no_temperature_means_logits_already_divided() -> None:
    logits = torch.randn(8, 30, generator=torch.Generator().manual_seed(2))
    parameters = FilterParameters.uniform(8, temperature=0.7, top_k=20, top_p=0.9, min_p=0.01)
    divided = select_candidates(logits / 0.7, replace(parameters, temperature=None), width=5, fetch=20)
    expected = select_candidates(logits, parameters, width=5, fetch=20)
    assert torch.equal(divided.ids, expected.ids)
    torch.testing.assert_close(divided.log_probs, expected.log_probs)


@property_test
@given(filtered_rows())
def test_training_renormalises_as_the_rollout_did(case: tuple[np.ndarray, FilterParameters, int, int]) -> None:
    logits, parameters, width, fetch = case
    logits = torch.from_numpy(logits)
    candidates = select_candidates(logits, parameters, width=width, fetch=fetch)
    tempered = logits / parameters.temperature[:, None]
    rebuilt = candidate_log_probs(tempered, candidates.ids, normalise_over="candidates")
    torch.testing.assert_close(rebuilt, candidates.log_probs, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(rebuilt.exp().sum(-1), torch.ones(len(logits)))


def test_vocabulary_normalisation_is_the_gathered_log_softmax() -> None:
    logits = torch.randn(6, 40, generator=torch.Generator().manual_seed(0))
    candidates = select_candidates(logits, FilterParameters.uniform(6, top_p=0.5, max_topk=7), width=7, fetch=7)
    actual = candidate_log_probs(logits, candidates.ids, normalise_over="vocabulary")
    full = logits.log_softmax(-1)
    for row, slot in np.ndindex(6, 7):
        token = int(candidates.ids[row, slot])
        expected = -torch.inf if token == NO_CANDIDATE else float(full[row, token])
        assert float(actual[row, slot]) == pytest.approx(expected, abs=1e-6)


def test_unknown_normalisation_is_refused() -> None:
    with pytest.raises(ValueError, match="normalise_over='nucleus'"):
        candidate_log_probs(torch.zeros(1, 3), torch.zeros(1, 1, dtype=torch.int64), normalise_over="nucleus")


def test_result_does_not_depend_on_how_much_is_fetched() -> None:
    logits = 3.0 * torch.randn(16, 200, generator=torch.Generator().manual_seed(1))
    parameters = FilterParameters.uniform(16, temperature=0.6, top_k=30, top_p=0.95, min_p=0.001, max_topk=10)
    narrow = select_candidates(logits, parameters, width=10, fetch=30)
    wide = select_candidates(logits, parameters, width=10, fetch=200)
    assert torch.equal(narrow.ids, wide.ids)
    torch.testing.assert_close(narrow.log_probs, wide.log_probs)


def test_vocabulary_smaller_than_the_mixture() -> None:
    logits = torch.tensor([[0.0, 1.0]])
    candidates = select_candidates(logits, FilterParameters.uniform(1, max_topk=5), width=5, fetch=5)
    assert candidates.ids.tolist() == [[1, 0, NO_CANDIDATE, NO_CANDIDATE, NO_CANDIDATE]]
    np.testing.assert_allclose(candidates.log_probs[0, :2].exp(), [0.7310586, 0.2689414], rtol=1e-6)


def test_ties_keep_distinct_ids_with_equal_probability() -> None:
    candidates = select_candidates(torch.zeros(2, 9), FilterParameters.uniform(2, max_topk=4), width=4, fetch=9)
    assert all(len(set(row)) == 4 for row in candidates.ids.tolist())
    torch.testing.assert_close(candidates.log_probs.exp(), torch.full((2, 4), 0.25))


def test_extreme_logits_stay_finite() -> None:
    logits = torch.tensor([[1e4, 0.0, -1e4, 5.0], [3e4, 3e4, -3e4, 0.0]])
    candidates = select_candidates(logits, FilterParameters.uniform(2, temperature=0.1, max_topk=4), width=4, fetch=4)
    assert candidates.mask.all() and torch.isfinite(candidates.log_probs).all()
    nucleus = select_candidates(logits, FilterParameters.uniform(2, top_p=0.95, max_topk=4), width=4, fetch=4)
    assert nucleus.mask.sum(-1).tolist() == [1, 2]
    leaf = logits.clone().requires_grad_()
    candidate_log_probs(leaf, nucleus.ids, normalise_over="candidates")[nucleus.mask].sum().backward()
    assert torch.isfinite(leaf.grad).all()


def test_masked_tokens_are_never_candidates() -> None:
    """vLLM writes -inf over forbidden tokens (allowed ids, minimum length, ids beyond the tokenizer)."""
    logits = torch.tensor([[0.0, 1.0, -torch.inf, -torch.inf, -torch.inf, -torch.inf]])
    candidates = select_candidates(logits, FilterParameters.uniform(1, max_topk=5), width=5, fetch=6)
    assert candidates.ids.tolist() == [[1, 0, NO_CANDIDATE, NO_CANDIDATE, NO_CANDIDATE]]
