"""Real faults for the doctor: metadata, modules and settings that a process finds before the installed ones."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa
from pyarrow import parquet

from verl_softthink.pocket import checkpoint_path

ENTRY_POINTS = (
    "[verl.plugins]\nverl_softthink = verl_softthink.plugin\n"
    "[vllm.general_plugins]\nverl_softthink = verl_softthink.rollout.vllm.plugin:register\n"
)


def sound(folder: Path) -> list[str]:
    """A command line that is right; its data files are in ``folder``."""
    files = [folder / f"{split}.parquet" for split in ("train", "val")]
    row = {
        "prompt": [{"role": "user", "content": "7+8"}],
        "data_source": "pocket",
        "reward_model": {"style": "rule", "ground_truth": "5"},
    }
    for file in files:
        parquet.write_table(pa.Table.from_pylist([row] * 8), file)
    return [
        "+softthink=[cpu,soft_grpo]",
        f"data.train_files={files[0]}",
        f"data.val_files={files[1]}",
        f"actor_rollout_ref.model.path={checkpoint_path()}",
        "data.max_prompt_length=32",
        "data.max_response_length=64",
        "data.train_batch_size=8",
        "actor_rollout_ref.actor.ppo_mini_batch_size=8",
        "actor_rollout_ref.actor.ppo_micro_batch_size_per_gpu=8",
        "actor_rollout_ref.ref.log_prob_micro_batch_size_per_gpu=8",
        "actor_rollout_ref.rollout.log_prob_micro_batch_size_per_gpu=8",
        "actor_rollout_ref.rollout.n=4",
    ]


@dataclass(frozen=True)
class Report:
    """What the doctor printed, and its exit code."""

    returncode: int
    findings: list[dict[str, str]]

    def texts(self, status: str) -> list[str]:
        return [finding["text"] for finding in self.findings if finding["status"] == status]


def doctor(*arguments: str, path: Path | None = None, without: tuple[str, ...] = (), **environment: str) -> Report:
    """Run ``verl-softthink doctor --json`` with ``path`` first on every process's module path."""
    inherited = {name: value for name, value in os.environ.items() if name not in without}
    paths = [str(path)] if path else []
    inherited["PYTHONPATH"] = os.pathsep.join([*paths, *filter(None, [os.environ.get("PYTHONPATH")])])
    run = subprocess.run(
        [sys.executable, "-c", "from verl_softthink.cli import app; app()", "doctor", "--json", *arguments],
        env={**inherited, "OMP_NUM_THREADS": "1", **environment},
        # The current folder comes before PYTHONPATH, and a checkout may hold metadata of its own.
        cwd=path or sys.prefix,
        capture_output=True,
        text=True,
        timeout=500,
    )
    if not run.stdout.startswith("{"):
        raise RuntimeError(run.stderr[-3000:])
    document = json.loads(run.stdout)
    assert document["ok"] is (run.returncode == 0)
    return Report(run.returncode, document["findings"])


def probe(name: str, arguments: dict, path: Path) -> list[dict[str, str]]:
    """Findings of one check alone, in its process, with ``path`` first on the module path."""
    out = path / "findings.json"
    paths = [str(path), *filter(None, [os.environ.get("PYTHONPATH")])]
    subprocess.run(
        [sys.executable, "-m", "verl_softthink.doctor.probe", json.dumps([(name, arguments)]), str(out)],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1"},
        cwd=path,
        capture_output=True,
        check=True,
        timeout=500,
    )
    (findings,) = json.loads(out.read_text())
    return findings


def write_distribution(path: Path, name: str, version: str, *, entry_points: str = "", **fields: str) -> None:
    """Metadata of a distribution that is found instead of the installed one."""
    folder = path / f"{name.replace('-', '_')}-{version}.dist-info"
    folder.mkdir(parents=True)
    lines = ["Metadata-Version: 2.1", f"Name: {name}", f"Version: {version}"]
    lines += [f"{key.replace('_', '-')}: {value}" for key, value in fields.items()]
    (folder / "METADATA").write_text("\n".join(lines) + "\n")
    if entry_points:
        (folder / "entry_points.txt").write_text(entry_points)


def _distribution(name: str, version: str, **fields: str) -> Callable[[Path], None]:
    return lambda path: write_distribution(path, name, version, **fields)


def _broken_torchvision(path: Path) -> None:
    write_distribution(path, "torchvision", "0.28.0")
    (path / "torchvision").mkdir()
    (path / "torchvision" / "__init__.py").write_text("raise RuntimeError('operator torchvision::nms does not exist')")


@dataclass(frozen=True)
class Fault:
    """How an installation is made sick, and the sentence that it must get."""

    sentence: str
    make: Callable[[Path], None] = lambda path: None
    environment: dict[str, str] = field(default_factory=dict)
    without: tuple[str, ...] = ()


_OWN = "verl-softthink"
FAULTS: dict[str, Fault] = {
    "wrong verl": Fault(
        "verl 0.8.0 is installed, but verl_softthink works with verl 0.9.x: pip install 'verl==0.9.1'.",
        _distribution("verl", "0.8.0"),
    ),
    "wrong vLLM": Fault(
        "vLLM 0.19.1 is untested with verl_softthink, which works with vLLM 0.24 to 0.31: pip install 'vllm>=",
        _distribution("vllm", "0.19.1"),
    ),
    "wrong torch": Fault(
        "torch 2.5.1 is installed, but verl-softthink works with torch <2.14,>=2.11: pip install 'torch",
        _distribution("torch", "2.5.1"),
    ),
    "wrong transformers": Fault(
        "transformers 4.57.0 is installed, but verl-softthink works with transformers <5.11,>=5.9: pip install",
        _distribution("transformers", "4.57.0"),
    ),
    "wrong Python": Fault(
        "is running, but verl-softthink works with Python >=3.99: make a virtual environment",
        _distribution(_OWN, "9.9", entry_points=ENTRY_POINTS, Requires_Python=">=3.99"),
    ),
    "missing requirement": Fault(
        "no-such-package is not installed: pip install 'no-such-package>=1'.",
        _distribution(_OWN, "9.9", entry_points=ENTRY_POINTS, Requires_Dist="no-such-package>=1"),
    ),
    "missing entry point": Fault(
        "of group vllm.general_plugins is missing (found: none), so vllm will not load the plugin",
        _distribution(_OWN, "9.9", entry_points=ENTRY_POINTS.partition("[vllm")[0]),
    ),
    "plugin disabled": Fault(
        "VERL_SOFTTHINK_DISABLE=1 turns the plugin off in every process: unset VERL_SOFTTHINK_DISABLE.",
        environment={"VERL_SOFTTHINK_DISABLE": "1"},
    ),
    "switch misspelt": Fault("VERL_SOFTTHINK_STRICT='yes': set it to 1", environment={"VERL_SOFTTHINK_STRICT": "yes"}),
    "kept out of verl": Fault(
        "VERL_USE_EXTERNAL_PLUGINS='other' keeps verl from loading the plugin: unset it, or add verl_softthink",
        environment={"VERL_USE_EXTERNAL_PLUGINS": "other"},
    ),
    "kept out of vLLM": Fault(
        "VLLM_PLUGINS='lora,other' keeps vLLM from loading the plugin: unset it, or add verl_softthink",
        environment={"VLLM_PLUGINS": "lora,other"},
    ),
    "broken torchvision": Fault(
        "`import torchvision` fails (RuntimeError: operator torchvision::nms does not exist), which breaks `import "
        "transformers`: its build does not fit the installed torch. Nothing here needs it: pip uninstall -y "
        "torchvision.",
        _broken_torchvision,
    ),
    "platform not named": Fault(
        "torch finds no accelerator and VERL_PLATFORM is not cpu: export VERL_PLATFORM=cpu", without=("VERL_PLATFORM",)
    ),
}
#: Overrides of a sound command line, and what the doctor says.
MISTAKES: dict[str, str] = {
    "softthink.rollout.prefix_cache_salt=false": "set the salt to True or turn prefix caching off",
    "actor_rollout_ref.model.use_fused_kernels=true": "fused kernels return no logits, which the law's density needs",
    "softthink.phase.end_of_thinking='</思考>'": "cannot produce it: it becomes",
    "actor_rollout_ref.rollout.max_num_batched_tokens=128": "is below actor_rollout_ref.rollout.max_num_seqs=256",
    "data.max_response_length=512": "max_model_len=544 is more than the 256 positions of the model",
    "actor_rollout_ref.rollout.engine_kwargs.vllm.kv_cache_memory_bytes=100000": "which takes 524288 bytes",
    "actor_rollout_ref.model.path=/no/such/model": "its tokenizer cannot be loaded",
    "softthink.law.taus=0.1": "Could not override 'softthink.law.taus'",
    "+softthink.law.taus=0.1": "softthink.law.taus=0.1: unknown key; known keys of the law 'gumbel' are name",
    "data.train_files=/no/such.parquet": "data.train_files='/no/such.parquet' does not exist",
    "actor_rollout_ref.rollout.name=sglang": "actor_rollout_ref.rollout.name='sglang': soft tokens are rolled out by",
    "actor_rollout_ref.actor.strategy=megatron": "strategy='megatron': soft traces are scored by the FSDP engine",
    "actor_rollout_ref.actor.ppo_micro_batch_size_per_gpu=null": "verl refuses it: ",
    "~actor_rollout_ref.model.override_config.attn_implementation": "attn_implementation is flash_attention_2",
    "trainer.device=cuda": "trainer.device='cuda' on a CPU: select '+softthink=[cpu,<recipe>]'",
    "data.max_prompt_length=null": "data.max_prompt_length=None: set a positive number of tokens",
    "data.train_batch_size=9": "data.train_batch_size=9 is more than the 8 rows of data.train_files",
    "trainer.logger=[console,swanlab]": "trainer.logger='swanlab' needs the package swanlab, which is not installed",
}
#: Overrides that are likely mistakes, but may be meant.
DOUBTS: dict[str, str] = {
    "softthink.law.tau=0.5": "softthink.law.tau=0.5: the paper reports a collapse at 0.25",
    "softthink.filter.top_p=1.0": "softthink.filter.top_p=1.0: the paper reports a collapse",
    "actor_rollout_ref.rollout.max_model_len=80": "max_model_len=80 is below data.max_prompt_length + data.max",
    "data.train_files=hdfs://cluster/train.parquet": "was not looked at: that it exists, and that no column",
    "actor_rollout_ref.rollout.n=1": "a group of one response has no baseline",
    "data.truncation=left": "data.truncation='left': verl cuts no prompt, and one of more than",
}
