"""Laws of other distributions, found by their entry points: real metadata and modules in a folder on the path."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from doctor.broken_installs import write_distribution

from verl_softthink.laws import LAWS
from verl_softthink.laws.gumbel import GumbelLaw
from verl_softthink.laws.registry import GROUP, LawRegistry

EXAMPLE = Path(__file__).parents[2] / "examples" / "07_your_own_law.py"
HEAD = "from verl_softthink.laws.gumbel import GumbelLaw, LawParameters\nfrom verl_softthink.laws.base import Law\n"


def install(folder: Path, name: str, target: str, distribution: str = "their-laws") -> None:
    write_distribution(folder, distribution, "1.0", entry_points=f"[{GROUP}]\n{name} = {target}\n")


@pytest.fixture
def registry(tmp_path, monkeypatch):
    """A registry that has not looked around yet, in a world with ``tmp_path`` on the path."""
    monkeypatch.syspath_prepend(tmp_path)
    yield LawRegistry((GumbelLaw(),))
    sys.modules.pop("theirs", None)


USE_IN_EVERY_ROLE = """
import json, sys
import verl_softthink.laws
light = not {"pydantic", "transformers", "verl", "vllm"} & set(sys.modules)

# Driver: settings. Engine: a request's slot, two steps and the embeddings fed. Actor: the likelihood of the trace.
import torch
from verl_softthink.config.base import parse
from verl_softthink.config.settings import RequestSettings, SoftThinkSettings
lazy = "blend" not in sys.modules
parse(SoftThinkSettings, {"law": {"name": "blend"}}, "softthink")
from verl_softthink.laws import LAWS, Action, candidate_log_probs
from verl_softthink.likelihood.fields import ScoringSettings
from verl_softthink.rollout.request import resolve
from verl_softthink.rollout.state import SoftState
from verl_softthink.rollout.step import soft_step
from verl_softthink.trace import unpack_rows

state = SoftState(slots=2, length=8, width=4, device=torch.device("cpu"))
filtered = {"top_k": 4, "top_p": 1.0, "max_topk": 4}
for request_id, law in (("theirs", "blend"), ("ours", "gumbel")):
    settings = RequestSettings.model_validate(
        {"law": {"name": law}, "filter": filtered, "phase": {"end_of_thinking": [1]}, "seed": 1}
    )
    state.add(request_id, resolve(settings.model_dump(), max_tokens=8, width=4, tokenize=None))
logits = torch.randn(2, 16, generator=torch.Generator().manual_seed(0))
slots = torch.tensor([state.slot("theirs"), state.slot("ours")])
rows = soft_step(state, logits, slots, torch.tensor([0, 0])).rows
trace = unpack_rows(rows[:1].numpy())
record = parse(SoftThinkSettings, {"law": {"name": "blend"}}, "softthink").law.scoring()
scoring = ScoringSettings.parse(record | {"temperature": 1.0, "detach_inputs": False})
action = Action(ids=trace.ids.long(), values=trace.values)
log_probs = candidate_log_probs(logits[:1], action.ids, normalise_over=scoring.normalise_over)
print(json.dumps({
    "lazy": lazy,
    "light": light,
    "names": list(LAWS),
    "weights": scoring.law.weights(action, scoring.parameters(action.ids))[0].tolist(),
    "rollout": float(trace.log_prob[0]),
    "actor": float(scoring.law.log_prob(action, log_probs, scoring.parameters(action.ids))),
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
        "law": {"name": "blend"},
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


def run_with_the_examples_law(folder: Path, program: str) -> dict:
    """What a program prints last, in an environment in which the example's law is installed."""
    shutil.copy(EXAMPLE, folder / "blend.py")
    install(folder, "blend", "blend:BlendLaw")
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
    found = run_with_the_examples_law(tmp_path, USE_IN_AN_ENGINE)
    assert len(found["tokens"]) > 5 and found["shown"] == found["tokens"]
    assert min(found["largest"]) >= 0.6 and found["sums"] == pytest.approx([1] * len(found["sums"]))
    assert max(found["log_prob"]) <= 0 and min(found["log_prob"]) < -0.01


def test_the_examples_law_works_in_every_role_once_installed(tmp_path):
    found = run_with_the_examples_law(tmp_path, USE_IN_EVERY_ROLE)
    assert found["lazy"] and found["light"]
    assert found["names"] == [*LAWS, "blend"]
    # The drawn token has at least 0.6, and the mixture is one.
    assert max(found["weights"]) >= 0.6 and sum(found["weights"]) == pytest.approx(1)
    assert found["rollout"] == pytest.approx(found["actor"], abs=1e-6) and found["actor"] < 0


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
        ("class Theirs(GumbelLaw):\n    name = 'theirs'\n    own_settings = {'share': 1}", r"own_settings \['share'\]"),
        ("class Theirs(GumbelLaw):\n    name = 'theirs'\n    reads = ('beta',)", r"reads \['beta'\], which training"),
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
