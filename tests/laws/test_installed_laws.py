"""Laws of other distributions, found by their entry points: real metadata and modules in a folder on the path."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from doctor.broken_installs import write_distribution
from scipy.special import log_softmax

from verl_softthink.laws import LAWS
from verl_softthink.laws.gumbel import GumbelLaw
from verl_softthink.laws.registry import GROUP, LawRegistry

EXAMPLE = Path(__file__).parents[2] / "examples" / "07_your_own_law.py"
HEAD = "from verl_softthink.laws import Law, Parameter\nfrom verl_softthink.laws.gumbel import GumbelLaw\n"


def install(folder: Path, name: str, target: str, distribution: str = "their-laws") -> None:
    write_distribution(folder, distribution, "1.0", entry_points=f"[{GROUP}]\n{name} = {target}\n")


@pytest.fixture
def registry(tmp_path, monkeypatch):
    """A registry that has not looked around yet, in a world with ``tmp_path`` on the path."""
    monkeypatch.syspath_prepend(tmp_path)
    yield LawRegistry((GumbelLaw(),))
    sys.modules.pop("theirs", None)


SHARP = """
from blend import BlendLaw
from verl_softthink.laws import Candidates, Parameter


class SharpLaw(BlendLaw):
    name = "sharp"
    parameters = (*BlendLaw.parameters, Parameter("sharpness", "factor of the log-probabilities", default=1.0, above=0))

    def sample(self, candidates, parameters, noise):
        sharpened = Candidates(candidates.ids, self._sharpened(candidates.log_probs, parameters))
        return super().sample(sharpened, parameters, noise)

    def token_log_prob(self, action, slot, log_probs, parameters):
        return super().token_log_prob(action, slot, self._sharpened(log_probs, parameters), parameters)

    def _sharpened(self, log_probs, parameters):
        return (parameters["sharpness"][:, None] * log_probs).log_softmax(-1)
"""

USE_IN_EVERY_ROLE = """
import json, sys
import verl_softthink.laws
light = not {"pydantic", "transformers", "verl", "vllm"} & set(sys.modules)

# Driver: settings. Engine: requests' slots and a step. Actor: the likelihood of the traces.
import torch
from verl_softthink.config.base import parse
from verl_softthink.config.settings import RequestSettings, SoftThinkSettings
lazy = "blend" not in sys.modules
from verl_softthink.laws import LAWS, Action, candidate_log_probs
from verl_softthink.likelihood.fields import ScoringSettings
from verl_softthink.rollout.request import SoftRequest, resolve
from verl_softthink.rollout.state import SoftState
from verl_softthink.rollout.step import soft_step
from verl_softthink.trace import unpack_rows

laws = [
    {"name": "sharp", "sharpness": 3, "share": 0.1},
    {"name": "gumbel", "tau": 0.5},
    {"name": "sharp"},
    {"name": "blend", "share": 0.3},
]
state = SoftState(slots=4, length=8, width=4, device=torch.device("cpu"))
for number, law in enumerate(laws):
    settings = {
        "law": law,
        "filter": {"top_k": 4, "top_p": 1.0, "max_topk": 4},
        "phase": {"end_of_thinking": [1]},
        "seed": 5,
    }
    request = resolve(settings, max_tokens=8, width=4, tokenize=None)
    state.add(str(number), SoftRequest.from_dict(json.loads(json.dumps(request.as_dict()))))
logits = torch.randn(1, 16, generator=torch.Generator().manual_seed(0)).expand(4, -1)
slots = torch.tensor([state.slot(str(number)) for number in range(4)])
trace = unpack_rows(soft_step(state, logits, slots, torch.zeros(4, dtype=torch.int64)).rows.numpy())
actor, gradients = [], []
for number, law in enumerate(laws):
    record = parse(SoftThinkSettings, {"law": law}, "softthink").law.scoring()
    scoring = ScoringSettings.parse(record | {"temperature": 1.0, "detach_inputs": False})
    action = Action(ids=trace.ids[[number]].long(), values=trace.values[[number]])
    leaf = logits[:1].clone().requires_grad_()
    log_probs = candidate_log_probs(leaf, action.ids, normalise_over=scoring.normalise_over)
    density = scoring.law.log_prob(action, log_probs, scoring.columns(action.ids))
    density.sum().backward()
    actor.append(float(density))
    gradients.append(float(leaf.grad.abs().sum()))


def refused(law):
    try:
        parse(SoftThinkSettings, {"law": law}, "softthink")
    except ValueError as error:
        return str(error)


print(json.dumps({
    "lazy": lazy,
    "light": light,
    "names": list(LAWS),
    "read_back": RequestSettings.model_validate({"law": laws[0]}).model_dump()["law"],
    "weights": trace.values.tolist(),
    "log_probs": candidate_log_probs(logits, trace.ids.long(), normalise_over="candidates").tolist(),
    "rollout": trace.log_prob.tolist(),
    "actor": actor,
    "gradients": gradients,
    "refused": [refused({"name": "sharp", "sharpness": 0}), refused({"name": "gumbel", "sharpness": 2.0})],
}))
"""


USE_IN_AN_ENGINE = """
import json
from verl_softthink.standalone import choose_platform, vllm_engine
from verl_softthink.pocket import checkpoint_path

def main():
    choose_platform()
    from vllm import SamplingParams
    from verl_softthink.trace import unpack_rows

    soft = {
        "law": {"name": "sharp", "share": 0.2, "sharpness": 2.0},
        "filter": {"top_k": 5, "top_p": 1.0, "max_topk": 5},
        "phase": {"end_of_thinking": "</think>", "budget": 24},
        "seed": 2,
    }
    params = SamplingParams(max_tokens=32, temperature=0, extra_args={"softthink": soft})
    with vllm_engine(checkpoint_path(), max_model_len=64, max_num_seqs=1, disable_log_stats=True) as llm:
        output = llm.generate("<user>7+8*3-9<assistant><think>", params, use_tqdm=False)[0].outputs[0]
    trace = unpack_rows(output.routed_experts)
    slots = trace.values.argmax(-1, keepdim=True)
    print(json.dumps({
        "shown": trace.ids.gather(-1, slots)[trace.soft][:, 0].tolist(),
        "tokens": [token for token, soft in zip(output.token_ids, trace.soft, strict=True) if soft],
        "largest": trace.values[trace.soft].max(-1).values.tolist(),
        "sums": trace.values[trace.soft].sum(-1).tolist(),
        "log_prob": trace.log_prob[trace.soft].tolist(),
    }))

if __name__ == "__main__":
    main()
"""


def run_with_their_laws(folder: Path, program: str) -> dict:
    """What a program prints last, where the example's law is installed, and one with a parameter of the density."""
    shutil.copy(EXAMPLE, folder / "blend.py")
    (folder / "sharp.py").write_text(SHARP)
    install(folder, "blend", "blend:BlendLaw")
    install(folder, "sharp", "sharp:SharpLaw", distribution="their-sharp-law")
    (folder / "program.py").write_text(program)
    paths = os.pathsep.join([str(folder), *filter(None, [os.environ.get("PYTHONPATH")])])
    run = subprocess.run(
        [sys.executable, str(folder / "program.py")],
        env={**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert run.returncode == 0, run.stderr[-3000:]
    return json.loads(run.stdout.splitlines()[-1])


@pytest.mark.vllm
def test_the_engines_own_process_finds_it(tmp_path):
    found = run_with_their_laws(tmp_path, USE_IN_AN_ENGINE)
    assert len(found["tokens"]) > 5 and found["shown"] == found["tokens"]
    assert min(found["largest"]) >= 0.8 and found["sums"] == pytest.approx([1] * len(found["sums"]))
    # The pocket reasoner is sharp, but not every one of its draws is certain.
    assert max(found["log_prob"]) <= 0 and min(found["log_prob"]) < -1e-3


def test_laws_with_parameters_of_their_own_work_in_every_role(tmp_path):
    found = run_with_their_laws(tmp_path, USE_IN_EVERY_ROLE)
    assert found["lazy"] and found["light"]
    assert found["names"] == [*LAWS, "blend", "sharp"]
    assert found["read_back"] == {"name": "sharp", "normalise_over": None, "share": 0.1, "sharpness": 3.0}
    np.testing.assert_allclose(found["actor"], found["rollout"], atol=1e-6)
    assert min(found["gradients"]) > 1e-3
    # By hand, row by row: the drawn token is the heaviest, the others weigh share * p.
    for row, (share, sharpness) in {0: (0.1, 3.0), 2: (0.4, 1.0), 3: (0.3, 1.0)}.items():
        log_probs = log_softmax(sharpness * np.array(found["log_probs"][row]))
        drawn = int(np.argmax(found["weights"][row]))
        assert found["actor"][row] == pytest.approx(log_probs[drawn], abs=1e-6)
        expected = share * np.exp(log_probs)
        expected[drawn] += 1 - share
        np.testing.assert_allclose(found["weights"][row], expected, atol=1e-6)
    assert found["refused"] == [
        "softthink.law.sharpness=0: it must be a number above 0, and fit float32",
        "softthink.law.sharpness=2.0: unknown key; known keys of the law 'gumbel' are name, normalise_over, tau, "
        "noise_scale",
    ]


def test_names_are_known_without_an_import_and_numbers_stay(registry, tmp_path):
    install(tmp_path, "theirs", "theirs:Theirs")
    assert list(registry) == ["gumbel", "theirs"] and len(registry) == 2
    assert "theirs" in registry and "nobody" not in registry
    assert [registry.number(name) for name in registry] == [0, 1]
    assert "theirs" not in sys.modules
    with pytest.raises(KeyError):
        registry["nobody"]
    (tmp_path / "theirs.py").write_text(HEAD + "class Theirs(GumbelLaw):\n    name = 'theirs'\n")
    assert registry["theirs"].name == "theirs" and registry["theirs"] is registry["theirs"]


@pytest.mark.parametrize(
    ("source", "sentence"),
    [
        ("import no_such_module", r"theirs:Theirs of their-laws cannot be loaded \(ModuleNotFoundError: .*no_such_mod"),
        ("Other = 1", r"cannot be loaded \(AttributeError: .*Theirs.*\): repair or uninstall the distribution"),
        ("class Theirs(", r"cannot be loaded \(SyntaxError"),
        ("Theirs = 1", "is 1: name a class derived from"),
        ("class Theirs(Law):\n    name = 'theirs'", "lacks log_prob, sample, token_log_prob, weights"),
        ("class Theirs(GumbelLaw):\n    name = 'gumble'", "has name = 'gumble': give law and entry point the same"),
        ("class Theirs(GumbelLaw):\n    name = 'theirs'\n    draws_embedding = True", "only 'gaussian' can"),
        (
            "class Theirs(GumbelLaw):\n    name = 'theirs'\n    parameters = (Parameter('tau', '', default=1.0),)",
            "has a parameter 'tau' that is another than that of the law 'gumbel': use the same object, or rename it",
        ),
        (
            "class Theirs(GumbelLaw):\n    name = 'theirs'\n    parameters = (Parameter('name', '', default=1.0),)",
            "has a parameter 'name', a key that every law has: rename it",
        ),
    ],
)
def test_a_law_that_cannot_be_used_is_refused_in_one_sentence(registry, tmp_path, source, sentence):
    install(tmp_path, "theirs", "theirs:Theirs")
    (tmp_path / "theirs.py").write_text(HEAD + source + "\n")
    with pytest.raises(ValueError, match=f"^the law 'theirs', .*{sentence}"):
        registry["theirs"]
    # And harms nobody who uses another.
    assert registry["gumbel"].name == "gumbel"


def test_a_name_that_is_taken_is_refused(registry, tmp_path):
    install(tmp_path, "gumbel", "theirs:Theirs")
    with pytest.raises(ValueError, match="'gumbel' is claimed by theirs:Theirs of their-laws and by verl_softthink it"):
        registry["gumbel"]
    assert list(registry) == ["gumbel"]
    other = LawRegistry(())
    install(tmp_path, "gumbel", "elsewhere:Law", distribution="other-laws")
    with pytest.raises(ValueError, match="(theirs:Theirs of their-laws|elsewhere:Law of other-laws) and .*: rename"):
        other["gumbel"]
