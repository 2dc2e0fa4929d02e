"""What a declaration makes of values and of rows."""

import pytest
import torch

from verl_softthink.laws import LAWS, Parameter

REAL = Parameter("share", "a share", default=0.5, above=0, at_most=1)
WHOLE = Parameter("count", "a count", default=2, dtype=torch.int64, at_least=1)
CHOICE = Parameter("mode", "a mode", default="left", dtype=torch.int64, choices=("right", "left"))


@pytest.mark.parametrize(
    ("parameter", "value", "parsed"),
    [(REAL, 1, 1.0), (REAL, 1e-30, 1e-30), (WHOLE, 2**62, 2**62), (CHOICE, "left", "left")],
)
def test_values_come_out_in_the_declared_type(parameter, value, parsed):
    result = parameter.parse(value)
    assert result == parsed and type(result) is type(parsed)


@pytest.mark.parametrize(
    ("parameter", "value", "sentence"),
    [
        *((REAL, value, "a number above 0 and at most 1, and fit float32") for value in (0, 1.1, True, None, "0.5")),
        *((REAL, value, "and fit float32") for value in (float("nan"), float("inf"), 10**400)),
        (Parameter("tau", "", default=1.0), 1e39, "must fit float32, -3.40282e.38 to 3.40282e.38"),
        (REAL, 1e-50, "rounds to 0 in float32; use a larger number"),
        *((WHOLE, value, "must be a whole number at least 1, and fit int64") for value in (0, 2.0, True, "2")),
        *((WHOLE, value, "must fit int64, -9.22337e.18 to 9.22337e.18") for value in (2**63, 10**400)),
        *((CHOICE, value, "must be right or left$") for value in ("up", 1, True, None, ["left"])),
    ],
)
def test_other_values_are_refused_in_a_sentence(parameter, value, sentence):
    with pytest.raises(ValueError, match=sentence):
        parameter.parse(value)


@pytest.mark.parametrize(
    "declaration",
    [
        {"default": 2.0, "at_most": 1},
        {"default": 1, "dtype": torch.int32},
        {"default": 1.0, "dtype": None},
        {"default": "a", "choices": ("a", "b")},
        {"default": "c", "dtype": torch.int64, "choices": ("a", "b")},
    ],
)
def test_a_declaration_that_contradicts_itself_is_refused(declaration):
    with pytest.raises(ValueError, match="it must be|use dtype="):
        Parameter("name", "doc", **declaration)


def test_columns_hold_a_choice_by_its_index():
    assert CHOICE.column(2, "left").tolist() == [1, 1] and CHOICE.column(2, "left").dtype == torch.int64
    multiplex = LAWS["multiplex"].columns(2, draws=4, weighting="probability")
    assert {name: column.tolist() for name, column in multiplex.items()} == {"draws": [4, 4], "weighting": [1, 1]}


def test_columns_are_the_laws_parameters_with_their_defaults():
    columns = LAWS["gumbel"].columns(3, tau=1, noise_scale=None)
    assert {name: column.tolist() for name, column in columns.items()} == {"tau": [1.0] * 3, "noise_scale": [1.0] * 3}
    assert {column.dtype for column in columns.values()} == {torch.float32}
    # What the trace carries is no row of the law's formulas.
    assert LAWS["gaussian"].columns(1).keys() == {"gamma", "shown", "covariance"}
    with pytest.raises(ValueError, match="tau=-1: it must be"):
        LAWS["gumbel"].columns(1, tau=-1)
    with pytest.raises(TypeError, match="the law 'gumbel' has no parameter gamma"):
        LAWS["gumbel"].columns(1, gamma=1)
