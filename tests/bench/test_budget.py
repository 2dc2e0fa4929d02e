"""The formulas of the computed table, each against the tensors that the package itself makes."""

import math
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from verl_softthink.bench import budget
from verl_softthink.config.settings import LawSettings
from verl_softthink.likelihood.scoring import pick
from verl_softthink.likelihood.soft_inputs import Mixtures, SoftInputs
from verl_softthink.rollout.fields import to_fields
from verl_softthink.rollout.request import resolve
from verl_softthink.rollout.state import SoftState
from verl_softthink.rollout.step import soft_step
from verl_softthink.trace import unpack_rows

ROOT = Path(__file__).parents[2]
VOCABULARY, CANDIDATES, LENGTH, BATCH = 64, 5, 12, 4


class Operations(TorchDispatchMode):
    """Counts operations that launch a kernel, passes over tensors of ``large`` numbers, and bytes made by name."""

    def __init__(self, large: int):
        super().__init__()
        self.large, self.launched, self.passes, self.made = large, 0, 0, {}

    def __torch_dispatch__(self, func, kinds, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        made = [leaf for leaf in tree_leaves(out) if isinstance(leaf, torch.Tensor)]
        if made and not func.is_view:
            self.launched += 1
            touched = [leaf for leaf in tree_leaves((args, kwargs, made)) if isinstance(leaf, torch.Tensor)]
            self.passes += sum(leaf.numel() == self.large for leaf in touched)
            name = func.overloadpacket.__name__
            self.made[name] = self.made.get(name, 0) + sum(leaf.nbytes for leaf in made)
        return out


def soft_state(length: int = LENGTH) -> SoftState:
    state = SoftState(slots=BATCH, length=length, width=CANDIDATES, device=torch.device("cpu"))
    values = {
        "law": {"name": "gumbel"},
        "filter": {"top_k": CANDIDATES, "top_p": 0.95, "max_topk": CANDIDATES},
        "phase": {"end_of_thinking": [3]},
    }
    for number in range(BATCH):
        request = resolve(
            values | {"seed": number},
            max_tokens=LENGTH,
            width=CANDIDATES,
            carries_embeddings=False,
            stop=1,
            tokenize=lambda text: [3],
        )
        state.add(str(number), request)
    return state


@pytest.fixture(scope="module")
def step() -> tuple[Operations, torch.Tensor]:
    """What one soft step of the recipe does, and its packed rows."""
    state, logits = soft_state(), torch.randn(BATCH, VOCABULARY).bfloat16()
    with Operations(logits.numel()) as operations:
        result = soft_step(state, logits, torch.arange(BATCH), torch.full((BATCH,), 3))
    return operations, result.rows


@pytest.mark.parametrize("shape", budget.SHAPES, ids=lambda shape: shape.name)
def test_parameters_are_the_models(shape):
    from transformers import AutoModelForCausalLM, Qwen2Config

    config = Qwen2Config(
        vocab_size=shape.vocabulary,
        hidden_size=shape.hidden,
        intermediate_size=shape.intermediate,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.key_value_heads,
        tie_word_embeddings=False,
    )
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)
    assert sum(parameter.numel() for parameter in model.parameters()) == shape.parameters


def test_history_is_what_the_state_takes_for_positions():
    longer, shorter = soft_state(3 * LENGTH).nbytes, soft_state(LENGTH).nbytes
    assert longer - shorter == budget.history_bytes(BATCH, 2 * LENGTH, CANDIDATES)


def test_rows_and_fields(step):
    _, rows = step
    assert rows[0].nbytes == budget.row_bytes(CANDIDATES)
    trace = unpack_rows(rows.numpy())
    fields = to_fields(trace, LawSettings(name="gumbel"))
    assert sum(field.nbytes for field in fields.values()) + trace.log_prob.nbytes == BATCH * budget.queue_bytes(
        CANDIDATES
    )


def test_a_look_up_is_the_candidates_rows_and_their_float32():
    hidden, soft = 16, 6
    embedding = nn.Embedding(VOCABULARY, hidden, dtype=torch.bfloat16)
    inputs, tokens = SoftInputs(embedding), torch.zeros(1, LENGTH, dtype=torch.int64)
    mixtures = Mixtures(torch.arange(soft), torch.ones(soft, CANDIDATES).long(), torch.ones(soft, CANDIDATES), False)
    inputs.feed(mixtures)
    with Operations(0) as operations:
        embedding(tokens)
    size = embedding.weight.element_size()
    beside = operations.made["embedding"] - tokens.numel() * hidden * size
    # The mixtures are brought back to the model's type.
    wide = operations.made["_to_copy"] - soft * hidden * size
    assert beside + wide == budget.lookup_bytes(soft, CANDIDATES, hidden)


def test_the_density_keeps_the_ids_of_every_position():
    logits, kept = torch.randn(LENGTH, VOCABULARY, requires_grad=True), []
    ids = torch.zeros(3, CANDIDATES, dtype=torch.int64)
    with torch.autograd.graph.saved_tensors_hooks(lambda saved: kept.append(saved) or saved, lambda saved: saved):
        pick(logits, torch.arange(3), ids)
    own = [saved for saved in kept if saved.data_ptr() != logits.data_ptr() and saved.shape[-1:] == (CANDIDATES,)]
    assert sum(saved.nbytes for saved in own) == budget.gather_bytes(LENGTH, CANDIDATES)


def test_a_step_launches_no_more_than_is_said(step):
    operations, _ = step
    assert budget.STEP_KERNELS / 2 < operations.launched <= budget.STEP_KERNELS


def test_a_step_passes_over_the_logits_as_often_as_is_said(step):
    operations, _ = step
    assert 1 <= operations.passes <= budget._LOGIT_PASSES


def test_shares_by_hand():
    """A model whose every size is 1 or 2: 8 GPUs, each with one response."""
    shape = budget.Shape("tiny", 1, 2, 1, 1, 1, 8)
    machine = budget.Machine("slow", operations=1.0, bandwidth=1.0, to_host=1.0)
    run = budget.Run(8, 1, 7, 1, 2, candidates=1, max_num_seqs=1, micro_batch_tokens=4)
    states, micro_batch, engine, rollout, training, traces = budget.shares(shape, machine, run)
    # Tables 2 x 16, attention 16 + 6 biases, MLP 6, three norms 6.
    assert shape.parameters == 66 and states.grpo * budget.GIB == pytest.approx(66 / 8 * 20)
    assert micro_batch.grpo * budget.GIB == pytest.approx(2 * 4 * 8 * 2 + 4 * 2 * 2)
    assert micro_batch.added * budget.GIB == pytest.approx(4 * 2 * 6 + 4 * 8)
    assert engine.added * budget.GIB == pytest.approx(2 * 8 * 60)
    # Of arithmetic: a context of 2 costs 4 * 2 * 2 operations beside 2 * 66, for each of two tokens.
    assert rollout.grpo == pytest.approx(2 * max((132 + 16) / 0.4, (132 + 2 * 8) / 0.7))
    assert training.grpo == pytest.approx(6 * 3 * (132 + 4 * 2 * 1.5) / 0.4)
    assert traces.added * budget.GIB == pytest.approx(16 * (24 + 20)) and math.isclose(traces.grpo, 0)


def test_the_document_has_the_table():
    assert budget.table() in (ROOT / "recipes" / "COMPUTED.md").read_text(encoding="utf-8")
