"""The six settings of the paper, laws as modes, and overrides."""

import pytest

from verl_softthink.config.settings import RequestSettings
from verl_softthink.evaluation.modes import SIX_SETTINGS, read_modes, read_pairs
from verl_softthink.laws import LAWS


def test_all_are_the_papers_six():
    modes = {mode.name: mode for mode in read_modes("all")}
    assert list(modes) == [f"{kind}_{how}" for kind in ("hard", "soft", "fuzzy") for how in ("greedy", "sample")]
    assert [name for name, mode in modes.items() if mode.deterministic] == [n for n in modes if n.endswith("greedy")]
    assert modes["hard_greedy"].filter.max_topk == 1
    assert (modes["hard_sample"].law.name, modes["hard_sample"].filter.temperature) == ("discrete", 1.0)
    for kind, temperature in (("soft", 0.5), ("fuzzy", 1e-4)):
        for how, gamma in (("greedy", 0.0), ("sample", 0.33)):
            mode = modes[f"{kind}_{how}"]
            assert (mode.law.name, mode.law.gamma, mode.filter.temperature) == ("gaussian", gamma, temperature)
            assert mode.law.normaliser == "vocabulary"


def test_laws_are_modes_and_can_be_overridden():
    gumbel, greedy = read_modes("gumbel, soft_greedy,gumbel", ["gumbel.law.tau=0.2", "soft_greedy.law.gamma=0.1"])
    assert (gumbel.law.name, gumbel.law.tau, gumbel.deterministic) == ("gumbel", 0.2, False)
    assert greedy.law.gamma == 0.1 and not greedy.deterministic
    assert SIX_SETTINGS["soft_greedy"]["law"]["gamma"] == 0.0, "an override must not change the table"
    for name in LAWS:
        (mode,) = read_modes(name)
        assert mode.law == RequestSettings(law={"name": name}).law


def test_a_mode_may_be_asked_for_under_several_labels():
    gumbel, warm, soft = read_modes(
        "gumbel,gumbel@warm,soft_sample@loud", ["gumbel@warm.law.tau=0.2", "soft_sample@loud.law.gamma=1"]
    )
    assert [mode.name for mode in (gumbel, warm, soft)] == ["gumbel", "gumbel@warm", "soft_sample@loud"]
    assert (gumbel.law.tau, warm.law.tau, soft.law.gamma, soft.filter.temperature) == (0.1, 0.2, 1.0, 0.5)


@pytest.mark.parametrize(
    ("modes", "overrides", "message"),
    [
        ("soft", (), "--modes 'soft' is unknown; use all or some of hard_greedy"),
        (" , ", (), "names no mode"),
        ("gumbel@", (), "--modes 'gumbel@': a label is letters, digits and underscores, e.g. gumbel@warm"),
        ("gumbel@../x", (), "a label is letters"),
        ("gumble@warm", (), "--modes 'gumble@warm' is unknown"),
        ("gumbel", ["concrete.law.tau=1"], "--override 'concrete.law.tau=1': write MODE.KEY=VALUE"),
        ("gumbel", ["gumbel.law.tau"], "write MODE.KEY=VALUE"),
        ("gumbel", ["gumbel.law.tau=0"], "--modes gumbel: softthink.law.tau=0"),
        ("gumbel", ["gumbel.law.tua=1"], "softthink.law.tua=1: unknown key"),
    ],
)
def test_mistakes_are_named(modes, overrides, message):
    with pytest.raises(ValueError, match=message):
        read_modes(modes, overrides)


def test_texts_of_a_phase_are_read_as_they_are_written():
    pairs = read_pairs("--phase", ["answer_prefix=' \\boxed{'", "match=text", "budget=12", "lead_in=null"])
    assert pairs == {"answer_prefix": " \\boxed{", "match": "text", "budget": 12, "lead_in": None}
