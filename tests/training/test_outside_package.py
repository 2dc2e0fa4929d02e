"""A run with a method from a package outside the repository, found by its entry point in every process."""

import os
import shutil

import pytest
from doctor.broken_installs import write_distribution
from support.runs import ROOT, run_recipe, small_batch

from verl_softthink.methods.registry import GROUP

pytestmark = pytest.mark.verl

STEPS = 2


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    package = tmp_path_factory.mktemp("package")
    write_distribution(package, "their-methods", "1.0", entry_points=f"[{GROUP}]\nbrevity = brevity:METHOD\n")
    shutil.copy(ROOT / "examples" / "09_your_own_method.py", package / "brevity.py")
    return run_recipe(
        "soft_grpo/run_pocket_cpu.sh",
        tmp_path_factory.mktemp("outside"),
        *small_batch(prompts=4, responses=4, micro_batch=8),
        *("trainer.val_before_train=False", "trainer.test_freq=-1", f"trainer.total_training_steps={STEPS}"),
        "+softthink.brevity.weight=0.2",
        PYTHONPATH=os.pathsep.join(filter(None, [str(package), os.environ.get("PYTHONPATH")])),
    )


def test_the_stage_ran_in_every_step_beside_soft_rollouts(run):
    assert sorted(run.metrics) == [1, 2]
    for data in run.metrics.values():
        assert data["softthink/brevity/bonus"] > 0
        assert data["softthink/soft_fraction"] > 0.5
        assert data["softthink/log_prob_gap/mean"] < 1e-3
        assert data["actor/grad_norm"] > 0
