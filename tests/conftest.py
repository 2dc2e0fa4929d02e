"""The tests run on a CPU: verl and the plugin read the platform when they are imported.

Shape annotations of the modules in ``SHAPE_CHECKED`` are checked at every call; they must be listed before their first
import.
"""

import os

import jaxtyping

os.environ.setdefault("VERL_PLATFORM", "cpu")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
# vLLM and verl compile a few helpers on first use: minutes of a C++ compiler that a test machine may not have.
os.environ.setdefault("TORCHDYNAMO_DISABLE", "1")

#: Modules of tensor functions, with their whole names.
SHAPE_CHECKED = (
    "verl_softthink.laws.base",
    "verl_softthink.laws.candidates",
    "verl_softthink.laws.dirichlet",
    "verl_softthink.laws.gaussian",
    "verl_softthink.laws.mixture",
    "verl_softthink.laws.noise",
    "verl_softthink.likelihood.prefix_tree",
    "verl_softthink.likelihood.scoring",
    "verl_softthink.likelihood.sequence_slice",
    "verl_softthink.likelihood.soft_inputs",
    "verl_softthink.methods.attnrl.influence",
    "verl_softthink.methods.attnrl.plan",
    "verl_softthink.methods.attnrl.points",
    "verl_softthink.methods.attnrl.reduction",
    "verl_softthink.methods.attnrl.response_steps",
    "verl_softthink.methods.attnrl.samples",
    "verl_softthink.methods.attnrl.steps",
    "verl_softthink.methods.attnrl.training_rows",
    "verl_softthink.methods.attnrl.tree",
    "verl_softthink.methods.attnrl.visibility",
    "verl_softthink.methods.repro.advantage",
    "verl_softthink.methods.repro.answer_attention",
    "verl_softthink.methods.repro.cuts",
    "verl_softthink.methods.repro.delimiters",
    "verl_softthink.methods.repro.rewards",
    "verl_softthink.methods.repro.scoring",
    "verl_softthink.methods.variational.advantage",
    "verl_softthink.methods.variational.weighting",
    "verl_softthink.rollout.embedding",
    "verl_softthink.rollout.phase.machine",
    "verl_softthink.rollout.phase.markers",
    "verl_softthink.rollout.phase.switching",
    "verl_softthink.rollout.step",
)
jaxtyping.install_import_hook(SHAPE_CHECKED, "beartype.beartype")
