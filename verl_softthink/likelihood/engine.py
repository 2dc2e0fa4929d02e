"""verl's FSDP engine for soft traces: it feeds the mixtures and returns the law's log-density as ``log_probs``.

Selected by ``actor_rollout_ref.model.model_type=softthink_language_model``, for actor and reference alike. Old,
reference and current log-probs all come from here, so ratio, clipping and KL treat every position alike. A
batch without ``softthink`` settings and without trace fields is computed by verl's own engine, untouched.

At drawn positions ``log_probs`` is the density of the action; ``entropy`` stays the entropy of the next-token
distribution that the logits define (tempered by verl's answer temperature), not the entropy of the law.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from types import ModuleType

import torch
from tensordict import TensorDict
from torch import Tensor
from verl.utils.tensordict_utils import get_non_tensor_data

from verl_softthink.likelihood.checks import check_batch, check_engine, check_model, check_slices
from verl_softthink.likelihood.fields import PREDECESSORS, SETTINGS, TRACE_FIELDS, ScoringSettings
from verl_softthink.likelihood.gradient_norms import GradientNorms
from verl_softthink.likelihood.head_in_pieces import HeadInPieces, check_head, check_pieces, head_request
from verl_softthink.likelihood.positions import DrawnPositions, drawn_positions
from verl_softthink.likelihood.scoring import log_density, log_density_in_tree
from verl_softthink.likelihood.sequence_slice import SequenceSlice
from verl_softthink.likelihood.shared_prefix import SHARED_PREFIX, SharedPrefixes
from verl_softthink.likelihood.soft_inputs import DrawnEmbeddings, Mixtures, SoftInputs, soft_inputs
from verl_softthink.likelihood.unsampled import Unsampled

MODEL_TYPE = "softthink_language_model"
BACKENDS = ["fsdp", "fsdp2"]
DEVICES = ["cuda", "npu", "cpu"]
#: Switches of a batch whose results would ignore the trace.
_REFUSED_SWITCHES = ("use_fused_kernels", "distillation_use_topk", "distillation_only")
#: verl's switch for the sum of squared probabilities.
SUM_PI_SQUARED = "calculate_sum_pi_squared"
#: Key of the ``ScoredPass`` in ``output_args``, which verl hands from its inputs to its outputs.
SCORED_PASS = "softthink_scored_pass"
_PIECES = "softthink_head_in_pieces"


@dataclass(frozen=True)
class ScoredPass:
    """The drawn positions of one forward pass.

    Attributes:
        drawn: of all rows of the micro-batch.
        scored: N of them, those that this rank's logits predict; all but under Ulysses.
        rows: [N] int64, the flattened position of this rank's logits that predicts each of ``scored``.
        in_tree: several of them may share a row of logits (``prefix_tree.py``).
        settings: how they are fed and scored.
        fed: what the soft ones among them were fed; None where there are none.
        slice: this rank's positions under Ulysses; None where all are here.
    """

    drawn: DrawnPositions
    scored: DrawnPositions
    rows: Tensor
    in_tree: bool
    settings: ScoringSettings
    fed: Mixtures | DrawnEmbeddings | None
    slice: SequenceSlice | None


def register(engines: ModuleType, mixins: Sequence[type] = ()) -> None:
    """Register the engine with ``verl.workers.engine.fsdp.transformer_impl``.

    Args:
        mixins: in front of every other base class, the first one first.
    """
    bases = (*mixins, SharedPrefixes, GradientNorms, SoftTraceLikelihood, engines.FSDPEngineWithLMHead)
    engine = type("SoftThinkFSDPEngine", bases, {})
    engines.EngineRegistry.register(model_type=MODEL_TYPE, backend=BACKENDS, device=DEVICES)(engine)


class SoftTraceLikelihood:
    """A mixin in front of ``FSDPEngineWithLMHead``: verl's module is still being imported when this one is."""

    _pieces: HeadInPieces | None = None

    def __init__(self, model_config, engine_config, optimizer_config, checkpoint_config):
        check_engine(
            strategy=engine_config.strategy,
            use_fused_kernels=model_config.use_fused_kernels,
            ulysses_sequence_parallel_size=engine_config.ulysses_sequence_parallel_size,
            mtp=model_config.mtp.enable,
            # verl slices a multimodal model's inputs behind the embedding.
            whole_sequences=["a multimodal model"] if hasattr(model_config.hf_config, "vision_config") else [],
            use_remove_padding=model_config.use_remove_padding,
            role="ref" if engine_config.forward_only else "actor",
        )
        check_model(model_config.hf_config)
        self._vocabulary = model_config.hf_config.get_text_config().vocab_size
        self._unsampled = Unsampled.of_model(model_config, self._vocabulary)
        super().__init__(model_config, engine_config, optimizer_config, checkpoint_config)

    def _build_module(self):
        # verl's builder knows two model types, and ours is its language model.
        registered, self.model_config.model_type = self.model_config.model_type, "language_model"
        try:
            module = super()._build_module()
        finally:
            self.model_config.model_type = registered
        self._soft_inputs = SoftInputs(module.get_input_embeddings())
        return module

    def _build_lora_module(self, module):
        module = super()._build_lora_module(module)
        if not self._soft_inputs.is_on(module.get_input_embeddings()):
            raise ValueError(
                f"actor_rollout_ref.model.target_modules={self.model_config.target_modules!r} adapts the input "
                "embedding, through which mixtures are fed; leave it out"
            )
        return module

    def forward_step(self, micro_batch, loss_function, forward_only):
        if self.use_ulysses_sp:
            shares = get_non_tensor_data(micro_batch, SHARED_PREFIX, default="repeat") != "repeat"
            check_slices([*self.row_readers(micro_batch), *([SHARED_PREFIX] if shares else [])])
        return super().forward_step(micro_batch, loss_function, forward_only)

    def row_readers(self, micro_batch: TensorDict) -> list[str]:
        """What the micro-batch asks for that reads whole rows, as they were rolled out; mixins add theirs."""
        return []

    def logit_readers(self, micro_batch: TensorDict) -> list[str]:
        """What the micro-batch asks for that reads the logits of all positions; mixins add theirs."""
        wanted = get_non_tensor_data(micro_batch, SUM_PI_SQUARED, default=False)
        return [SUM_PI_SQUARED] if wanted else []

    def prepare_model_inputs(self, micro_batch):
        self._soft_inputs.clear()
        if self._pieces is not None:
            self._pieces.ask(None)
        settings = _settings(micro_batch)
        model_inputs, output_args = super().prepare_model_inputs(micro_batch)
        if settings is None:
            return model_inputs, output_args
        drawn = drawn_positions(
            {name: micro_batch[name] for name in settings.trace_fields},
            micro_batch["input_ids"],
            micro_batch["response_mask"],
        )
        packed = get_non_tensor_data(micro_batch, "use_remove_padding", default=True)
        index = drawn.packed() if packed else drawn.padded(model_inputs["input_ids"].shape[1])
        mine = self._slice(model_inputs, output_args, settings)
        in_tree = PREDECESSORS in micro_batch
        soft = drawn.soft.nonzero()[:, 0]
        scored = drawn
        rows = micro_batch[PREDECESSORS].values()[drawn.packed()] if in_tree else index - 1
        if mine is not None:
            soft = soft[mine.holds(index[soft])]
            scored, rows = drawn[mine.holds(rows)], mine.local(rows)
            index = index - mine.start
        fed = soft_inputs(drawn[soft], index[soft], settings, self._vocabulary) if len(soft) else None
        if fed is not None:
            self._soft_inputs.feed(fed)
        output_args[SCORED_PASS] = ScoredPass(drawn, scored, rows, in_tree, settings, fed, mine)
        if settings.positions_at_once is not None:
            check_pieces(self.logit_readers(micro_batch))
            width = None if packed else model_inputs["input_ids"].shape[1]
            output_args[_PIECES] = head_request(micro_batch, output_args, drawn, settings, width, self._unsampled)
            self._head_in_pieces().ask(output_args[_PIECES])
        return model_inputs, output_args

    def _slice(self, model_inputs: dict, output_args: dict, settings: ScoringSettings) -> SequenceSlice | None:
        """This rank's positions of the packed batch under Ulysses sequence parallelism; None where all are here."""
        if not self.use_ulysses_sp:
            return None
        in_pieces = settings.positions_at_once is not None
        check_slices(
            [
                *(["softthink.likelihood.positions_at_once"] if in_pieces else []),
                *([f"softthink.law.name={settings.law.name!r}"] if settings.law.draws_embedding else []),
            ]
        )
        length = model_inputs["input_ids"].shape[1]
        return SequenceSlice(self.ulysses_device_mesh["sp"].get_local_rank() * length, length, output_args["pad_size"])

    def _head_in_pieces(self) -> HeadInPieces:
        head = self.module.get_output_embeddings()
        if self._pieces is None:
            check_head(head, self.model_config.hf_config)
            self._pieces = HeadInPieces(head)
        return self._pieces

    def prepare_model_outputs(self, output, output_args, micro_batch, logits_processor_func):
        if SCORED_PASS not in output_args:
            return super().prepare_model_outputs(output, output_args, micro_batch, logits_processor_func)
        self._soft_inputs.require_fed()
        this: ScoredPass = output_args[SCORED_PASS]
        if _PIECES in output_args:
            return output_args[_PIECES].model_output(output.logits, micro_batch["input_ids"].offsets())
        self._unsampled.mask_(output.logits)
        # Before verl's own log-probs: it may scale the logits, and its backward pass may overwrite them.
        if this.in_tree:
            density = log_density_in_tree(output.logits, this.rows, this.scored, this.settings)
        else:
            density = log_density(output.logits, this.rows, this.scored, this.settings, this.fed)
        if this.slice is not None:
            joined = self._gather_and_unpad_packed(this.slice.column(this.rows, density), this.slice.padding)
            density = joined[this.drawn.packed() - 1]
        model_output = super().prepare_model_outputs(output, output_args, micro_batch, logits_processor_func)
        tokens = model_output["log_probs"]
        log_probs = tokens.values().float().index_copy(0, this.drawn.packed() - 1, density)
        model_output["log_probs"] = torch.nested.nested_tensor_from_jagged(log_probs, tokens.offsets())
        return model_output


def _settings(micro_batch: TensorDict) -> ScoringSettings | None:
    """The settings of a micro-batch with traces; None for one that has neither settings nor traces."""
    values = get_non_tensor_data(micro_batch, SETTINGS, default=None)
    present = [name for name in TRACE_FIELDS if name in micro_batch]
    if values is None and not present:
        return None
    if values is None:
        raise ValueError(
            f"the batch has {', '.join(present)} but no settings to score them with: set "
            f"batch.extra_info[{SETTINGS!r}], or do not select the trace fields"
        )
    settings = ScoringSettings.parse(values)
    missing = [name for name in settings.trace_fields if name not in micro_batch]
    if missing:
        raise ValueError(
            f"batch.extra_info[{SETTINGS!r}] is set, but the batch lacks {', '.join(missing)}: roll out with the soft "
            "agent loop and select its trace fields, or remove the settings"
        )
    check_batch(
        {name: get_non_tensor_data(micro_batch, name, default=False) for name in _REFUSED_SWITCHES},
        micro_batch["position_ids"].dim(),
    )
    return settings
