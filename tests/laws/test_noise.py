"""The counter-based noise: rebuildable, uniform, uncorrelated, finite."""

import numpy as np
import pytest
import torch
from oracles import splitmix
from oracles.monte_carlo import deviation
from scipy.stats import chisquare, gumbel_r, kstest

from verl_softthink.laws.noise import gumbel, uniform

DRAWS = 200_000


def test_reference_mixer_gives_the_published_splitmix64_outputs() -> None:
    assert splitmix.mix(0) == 0xE220A8397B1DCDAF
    assert splitmix.mix(1234567) == 6457827717110365317
    assert splitmix.unmix(splitmix.mix(987654321)) == 987654321


def test_uniform_is_the_chained_splitmix_hash() -> None:
    generator = np.random.default_rng(0)
    limit = 1 << 63
    counters = [tuple(int(c) for c in generator.integers(-limit, limit, size=3)) for _ in range(200)]
    counters += [(0, 0, 0), (-1, -1, -1), (limit - 1, -limit, 1), (7, 3, 151_935)]
    seed, index, lane = (torch.tensor(column) for column in zip(*counters, strict=True))
    actual = uniform(seed, index, lane)
    for row, (s, i, c) in enumerate(counters):
        bits = splitmix.mix(splitmix.mix(splitmix.mix(s) ^ (i % (1 << 64))) ^ (c % (1 << 64)))
        assert float(actual[row]) == pytest.approx(bits / 2.0**64, abs=2.0**-50)


ALL_ONES = (1 << 64) - 1


@pytest.mark.parametrize("bits", [0, ALL_ONES, 1, 1 << 63, (1 << 63) - 1])
@pytest.mark.parametrize("token", [0, 151_935])
def test_every_bit_pattern_gives_a_number_strictly_between_zero_and_one(bits: int, token: int) -> None:
    """The hash is a bijection in the seed, so some seed gives each pattern; this finds it."""
    index = 17
    seed = splitmix.signed(splitmix.unmix(splitmix.unmix(splitmix.unmix(bits) ^ token) ^ index))
    drawn = uniform(torch.tensor([seed]), torch.tensor([index]), torch.tensor([token]))
    assert float(drawn) == pytest.approx(bits / 2.0**64, abs=2.0**-50)
    assert 0.0 < float(drawn) < 1.0
    assert torch.isfinite(gumbel(torch.tensor([seed]), torch.tensor([index]), torch.tensor([[token]]))).all()


def test_noise_does_not_depend_on_the_batch() -> None:
    generator = torch.Generator().manual_seed(1)
    seed = torch.randint(-(2**62), 2**62, (32,), generator=generator)
    index = torch.randint(0, 4096, (32,), generator=generator)
    ids = torch.stack([torch.randperm(1000, generator=generator)[:6] for _ in range(32)])
    whole = gumbel(seed, index, ids)
    assert whole.shape == (32, 6) and whole.dtype == torch.float32
    for row in range(32):  # one request alone, with fewer candidates
        alone = gumbel(seed[row : row + 1], index[row : row + 1], ids[row : row + 1, :3])
        assert torch.equal(alone[0], whole[row, :3])
    rows, slots = torch.randperm(32, generator=generator), torch.randperm(6, generator=generator)
    assert torch.equal(gumbel(seed[rows], index[rows], ids[rows][:, slots]), whole[rows][:, slots])
    torch.randn(100)  # no global generator is involved
    assert torch.equal(gumbel(seed, index, ids), whole)


def _counters(varying: str) -> torch.Tensor:
    """Uniforms along consecutive values of one counter, the others fixed."""
    run, fixed = torch.arange(DRAWS), torch.tensor(12345)
    return uniform(**{name: run if name == varying else fixed for name in ("seed", "index", "lane")})


@pytest.mark.parametrize("varying", ["seed", "index", "lane"])
def test_consecutive_counters_give_independent_uniforms(varying: str) -> None:
    drawn = _counters(varying).numpy()
    assert kstest(drawn, "uniform").pvalue > 1e-3
    for lag in (1, 2, 3, 8, 64, 1024):
        correlation = np.corrcoef(drawn[:-lag], drawn[lag:])[0, 1]
        assert abs(correlation) < 3.5 / np.sqrt(DRAWS - lag), lag
    cells = np.floor(drawn * 32).astype(int)
    pairs = np.bincount(cells[:-1:2] * 32 + cells[1::2], minlength=32 * 32)
    assert chisquare(pairs).pvalue > 1e-3


def test_low_bits_are_uniform_too() -> None:
    low = np.floor(_counters("index").numpy() * 2.0**40).astype(np.int64) % 256
    assert chisquare(np.bincount(low, minlength=256)).pvalue > 1e-3


def test_neighbouring_rows_of_a_group_are_uncorrelated() -> None:
    """A group's requests may have consecutive seeds and share candidates: rows [seed, index] x ids."""
    seeds, ids = torch.arange(64), torch.arange(5)
    index = torch.arange(500)
    drawn = uniform(seeds[:, None, None], index[None, :, None], ids[None, None, :]).reshape(64, -1).numpy()
    correlations = np.corrcoef(drawn)[np.triu_indices(64, k=1)]
    assert np.abs(correlations).max() < 5.0 / np.sqrt(drawn.shape[1])
    assert abs(correlations.mean()) < 3.0 / np.sqrt(drawn.shape[1] * correlations.size)
    # Diagonals: (seed + 1, index) against (seed, index + 1) must not be the same draw.
    diagonal = np.corrcoef(drawn[1:, :-5].ravel(), drawn[:-1, 5:].ravel())[0, 1]
    assert abs(diagonal) < 3.5 / np.sqrt(drawn.size)


def test_gumbel_distribution_moments_and_range() -> None:
    rows = 400_000
    drawn = gumbel(torch.full((rows,), 99), torch.arange(rows), torch.tensor([[3, 1, 4, 15, 9]]).expand(rows, 5))
    assert torch.isfinite(drawn).all()
    values = drawn.double().numpy().ravel()
    assert values.min() > -4.0 and values.max() < 38.0
    assert abs(deviation(values, np.euler_gamma)) < 3.0
    assert abs(deviation((values - np.euler_gamma) ** 2, np.pi**2 / 6)) < 3.0
    assert abs(deviation(np.exp(-values), 1.0)) < 3.0  # exp(-eps) is Exponential(1)
    assert kstest(values[:DRAWS], gumbel_r.cdf).pvalue > 1e-3
