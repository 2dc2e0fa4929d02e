"""RePro inside verl's old-log-prob pass: a mixin in front of the likelihood engine.

A micro-batch with ``REQUEST`` among its settings returns three more model outputs, ``CUTS``, ``SURROGATE``
and ``SECONDS``; its log-probs and entropies are bit for bit those of a pass without it. The method is explained in
``kv_capture.py``.
"""

import time

import torch
from tensordict import TensorDict
from torch import Tensor
from verl.utils.device import get_torch_device
from verl.utils.tensordict_utils import get_non_tensor_data

from verl_softthink.methods.repro.answer_attention import AnswerAttention
from verl_softthink.methods.repro.cuts import find_cut_positions
from verl_softthink.methods.repro.fields import ANSWER, CUTS, KINDS, REQUEST, SECONDS, SURROGATE
from verl_softthink.methods.repro.kv_capture import KVCapture
from verl_softthink.methods.repro.scoring import score_cut_positions


class AnswerScoring:
    """Scores the right answer after selected prefixes of every response of a forward-only pass."""

    _capture: KVCapture | None = None

    def row_readers(self, micro_batch: TensorDict) -> list[str]:
        return [*super().row_readers(micro_batch), *self._requested(micro_batch)]

    def logit_readers(self, micro_batch: TensorDict) -> list[str]:
        return [*super().logit_readers(micro_batch), *self._requested(micro_batch)]

    def _requested(self, micro_batch: TensorDict) -> list[str]:
        return [] if get_non_tensor_data(micro_batch, REQUEST, default=None) is None else [REQUEST]

    def forward_step(self, micro_batch: TensorDict, loss_function, forward_only: bool):
        if get_non_tensor_data(micro_batch, REQUEST, default=None) is None:
            return super().forward_step(micro_batch, loss_function, forward_only)
        missing = [name for name in (KINDS, ANSWER) if name not in micro_batch]
        if missing or not forward_only:
            what = f"the batch lacks {', '.join(missing)}" if missing else "this is a training pass"
            raise ValueError(
                f"batch.extra_info[{REQUEST!r}] is set, but {what}: answers are scored in compute_log_prob, on a batch "
                "that RePro has prepared; remove the key"
            )
        self._capture = KVCapture(self.model_config.hf_config)
        try:
            with self._capture.capturing():
                return super().forward_step(micro_batch, loss_function, forward_only)
        finally:
            self._capture = None

    def prepare_model_outputs(self, output, output_args, micro_batch, logits_processor_func):
        if self._capture is None:
            return super().prepare_model_outputs(output, output_args, micro_batch, logits_processor_func)
        get_torch_device().synchronize()
        begin = time.perf_counter()
        # Before verl's own log-probs, which may modify the logits in place.
        cuts, surrogate = self._score_answers(output.logits, micro_batch)
        get_torch_device().synchronize()
        seconds = (time.perf_counter() - begin) / len(cuts)
        model_output = super().prepare_model_outputs(output, output_args, micro_batch, logits_processor_func)
        each = [surrogate[0].new_full((1,), seconds) for _ in cuts]
        for name, rows in ((CUTS, cuts), (SURROGATE, surrogate), (SECONDS, each)):
            model_output[name] = torch.nested.as_nested_tensor(rows, layout=torch.jagged)
        return model_output

    def _score_answers(self, logits: Tensor, micro_batch: TensorDict) -> tuple[list[Tensor], list[Tensor]]:
        """Cuts [P] and mean log-likelihoods [P] of every response."""
        request = get_non_tensor_data(micro_batch, REQUEST, default=None)
        input_ids, position_ids = micro_batch["input_ids"], micro_batch["position_ids"]
        positions = find_cut_positions(
            {name: micro_batch[name] for name in (KINDS, ANSWER)},
            input_ids,
            micro_batch["responses"],
            request["lead_in"],
        )
        offsets = input_ids.offsets()[:-1]
        packed = get_non_tensor_data(micro_batch, "use_remove_padding", default=True)
        # Where each sequence starts among the flattened columns of the pass.
        starts = offsets if packed else torch.arange(len(offsets), device=offsets.device) * logits.shape[1]
        return score_cut_positions(
            lambda tokens, ids, at: self._capture.score(self.module, AnswerAttention(tokens, starts), ids, at),
            logits,
            positions,
            starts,
            position_ids.values()[offsets[positions.row] + positions.prefix - 1] + 1,
            _temperature(micro_batch, len(offsets), offsets.device),
            segments=request["segments"],
            group=self.get_data_parallel_group(),
        )


def _temperature(micro_batch: TensorDict, rows: int, device: torch.device) -> Tensor:
    """[B] float32; verl gives one number or one per response."""
    temperature = torch.as_tensor(micro_batch["temperature"], dtype=torch.float32, device=device)
    return temperature.expand(rows)
