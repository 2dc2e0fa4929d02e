"""The doctor is green on this installation, and for each injected fault red with the sentence that mends it."""

import json
import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch

from doctor.broken_installs import DOUBTS, FAULTS, MISTAKES, doctor, probe, sound, write_distribution
from verl_softthink.doctor import platform_probe
from verl_softthink.doctor.marker import marker_findings
from verl_softthink.laws.registry import GROUP
from verl_softthink.pocket import checkpoint_path

MODEL = str(checkpoint_path())
EXAMPLE = Path(__file__).parents[2] / "examples" / "07_your_own_law.py"
ON_GPU = torch.accelerator.is_available()


def test_this_installation_and_a_sound_command_line_are_green(tmp_path):
    report = doctor("--model", MODEL, "--", *sound(tmp_path))
    assert (report.returncode, report.texts("failure"), report.texts("warning")) == (0, [], [])
    text = "\n".join(report.texts("ok"))
    assert "Python 3." in text and "supported" in text
    assert "loads the plugin" in text and "is one token: [6]" in text and "every check passes" in text
    assert "The history of soft requests takes 0.0" in text and "max_num_seqs=" in text


@pytest.fixture(scope="module")
def sick(tmp_path_factory):
    """The reports of all sick installations, two at a time: each is mostly the import of verl."""

    # Not in the threads: the factory is not made for them.
    folders = {name: tmp_path_factory.mktemp("fault") for name in FAULTS}

    def examine(name: str):
        fault, path = FAULTS[name], folders[name]
        fault.make(path)
        return doctor(path=path, without=fault.without, **fault.environment)

    with ThreadPoolExecutor(2) as pool:
        return dict(zip(FAULTS, pool.map(examine, FAULTS), strict=True))


@pytest.mark.parametrize("name", FAULTS)
def test_fault(sick, name):
    if ON_GPU and name == "platform not named":
        pytest.skip("an accelerator is there, so the platform need not be named")
    report = sick[name]
    assert report.returncode == 1
    assert any(FAULTS[name].sentence in text for text in report.texts("failure")), report.texts("failure")


def test_one_fault_does_not_hide_behind_others(sick):
    """A broken library also takes the process that imports verl down; every other fault is one sentence."""
    assert {name for name, report in sick.items() if len(report.texts("failure")) != 1} <= {"broken torchvision"}


def test_an_untested_patch_release_and_a_broken_law_are_warnings(tmp_path):
    write_distribution(tmp_path, "verl", "0.9.7")
    write_distribution(
        tmp_path, "their-laws", "1.0", entry_points=f"[{GROUP}]\nblend = their_law:BlendLaw\nlost = their_law:Lost\n"
    )
    shutil.copy(EXAMPLE, tmp_path / "their_law.py")
    report = doctor(path=tmp_path)
    assert report.returncode == 0
    assert any(text.startswith("verl 0.9.7 is untested") for text in report.texts("warning"))
    assert any(text.startswith("The law 'lost', their_law:Lost of their-laws") for text in report.texts("warning"))
    assert "softthink.law.name=blend is their_law.BlendLaw." in report.texts("ok")


def test_a_wrong_configuration_is_an_exit_code(tmp_path):
    report = doctor("--", *sound(tmp_path), "softthink.rollout.prefix_cache_salt=false")
    (sentence,) = report.texts("failure")
    assert report.returncode == 1 and "softthink.rollout.prefix_cache_salt=False" in sentence


@pytest.fixture(scope="module")
def configurations(tmp_path_factory) -> dict[str, list[dict]]:
    """What the doctor says about each override, from one process that composes them all."""
    folder = tmp_path_factory.mktemp("configurations")
    code = (
        "import json, sys\nfrom verl_softthink.doctor.configuration import configuration_findings\n"
        "found = [[f.as_dict() for f in configuration_findings(line)] for line in json.load(sys.stdin)]\n"
        "open(sys.argv[1], 'w').write(json.dumps(found))"
    )
    overrides = [*MISTAKES, *DOUBTS]
    lines = [[*sound(folder), override] for override in overrides]
    subprocess.run(
        [sys.executable, "-c", code, str(folder / "found.json")],
        input=json.dumps(lines),
        env={**os.environ, "VERL_PLATFORM": "cpu"},
        text=True,
        check=True,
        timeout=300,
    )
    return dict(zip(overrides, json.loads((folder / "found.json").read_text()), strict=True))


@pytest.mark.parametrize(("override", "sentence"), [*MISTAKES.items(), *DOUBTS.items()])
def test_wrong_configuration(configurations, override, sentence):
    finding, *others = configurations[override]
    assert sentence in finding["text"]
    # Of some mistakes verl's own validation has something to say too.
    assert all(other["text"].startswith("verl refuses it") for other in others)
    assert finding["status"] == ("failure" if override in MISTAKES else "warning")


@pytest.mark.parametrize(("found", "status"), [(None, "warning"), (object(), "ok")])
def test_a_gpu_without_flash_attention_is_told_how_to_install_it(monkeypatch, found, status):
    monkeypatch.setattr(platform_probe.importlib.util, "find_spec", lambda name: found)
    finding = platform_probe._flash_attention()
    assert finding.status == status
    assert ("pip install --no-build-isolation 'verl-softthink[flash-attn]'" in finding.text) == (found is None)


def test_a_marker_that_is_not_in_the_tokenizer():
    (finding,) = marker_findings(MODEL, "</思考>")
    assert finding.status == "failure" and "cannot produce it" in finding.text


def test_a_marker_of_several_tokens_that_context_changes(tmp_path):
    """Byte-level merges: "# #" after a space is another token, as with SmolLM2's "####"."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: index for index, token in enumerate([*alphabet, "##", "Ġ#", "Ġ##"])}
    backend = Tokenizer(models.BPE(vocabulary, [("#", "#"), ("Ġ", "#"), ("Ġ", "##")]))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    PreTrainedTokenizerFast(tokenizer_object=backend, eos_token="!").save_pretrained(tmp_path)
    in_context, template = marker_findings(str(tmp_path), "####")
    assert in_context.status == "warning" and "is 2 tokens: " in in_context.text
    assert (
        "its tokens are others behind 'x ', ' '" in in_context.text and "match=tokens would miss it" in in_context.text
    )
    assert template.status == "warning" and "no chat template" in template.text


def test_no_tokenizer_at_all(tmp_path):
    (finding,) = marker_findings(str(tmp_path))
    assert finding.status == "failure" and "no tokenizer can be read from it" in finding.text


@pytest.mark.vllm
def test_deep_examination_is_green():
    report = doctor("--deep")
    assert (report.returncode, report.texts("failure")) == (0, [])
    text = "\n".join(report.texts("ok"))
    assert "registrations happen in the driver" in text and "registrations happen in a Ray worker" in text
    assert "returns a whole trace" in text and "does not find cached blocks" in text and "wrote '</think>'" in text


@pytest.mark.vllm
def test_deep_examination_sees_what_only_the_engine_tells(tmp_path):
    """A prefix cache without our keys: the engine works, and follow-ups read wrong keys."""
    (tmp_path / "sitecustomize.py").write_text(
        "from verl_softthink.upstream.hooks import when_imported\n"
        "@when_imported('verl_softthink.rollout.vllm.prefix_cache')\n"
        "def no_salt(module):\n    module.install = lambda *modules: None\n"
    )
    findings = probe("engine", {"model": MODEL, "overrides": []}, tmp_path)
    (sentence,) = [finding["text"] for finding in findings if finding["status"] == "failure"]
    assert "cached positions of a soft one" in sentence
