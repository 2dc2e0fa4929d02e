"""RePro in a training step: cuts before the old-log-prob pass, scores inside it, process advantages after verl's own.

before   segments of every response and the ids of its answer, into the batch
inside   likelihoods of the answer after the selected cuts (``engine.AnswerScoring``)
after    A = A_outcome + alpha x A_process, written over verl's ``advantages``
"""

import torch
import transfer_queue as tq
from omegaconf import DictConfig, OmegaConf
from tensordict import TensorDict
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from transfer_queue import KVBatchMeta

from verl_softthink.config.settings import SoftThinkSettings
from verl_softthink.methods.repro.advantage import NORMALISERS, process_advantage
from verl_softthink.methods.repro.fields import ANSWER, CUTS, KINDS, PIECE, REQUEST, REWARD, SECONDS, SURROGATE
from verl_softthink.methods.repro.metrics import reward_metrics, text_metrics
from verl_softthink.methods.repro.preparation import Preparation, uncut
from verl_softthink.methods.repro.results import process_rewards
from verl_softthink.methods.stage import Stage
from verl_softthink.training.check import check_marker_text, load_tokenizer


class ReproStage(Stage):
    """Process advantages beside the outcome's."""

    dumped = (PIECE, REWARD)

    def __init__(self, trainer, settings):
        super().__init__(trainer, settings)
        self._prepared: Preparation | None = None

    @classmethod
    def check(cls, config: DictConfig, settings: SoftThinkSettings) -> None:
        estimator = OmegaConf.select(config, "algorithm.adv_estimator")
        if estimator not in NORMALISERS:
            raise ValueError(
                f"algorithm.adv_estimator={estimator!r} has no process advantage; use one of {', '.join(NORMALISERS)}, "
                "or remove repro from +softthink"
            )
        if OmegaConf.select(config, "algorithm.rollout_correction.bypass_mode", default=False):
            raise ValueError(
                "algorithm.rollout_correction.bypass_mode=True skips the pass over the old policy, in which RePro "
                "scores the answers; set it to False"
            )
        attention = OmegaConf.select(config, "actor_rollout_ref.model.override_config.attn_implementation")
        if attention == "eager":
            raise ValueError(
                "actor_rollout_ref.model.override_config.attn_implementation='eager' does not go through transformers' "
                "attention interface, which RePro needs; set it to sdpa, flash_attention_2 or flex_attention"
            )
        check_marker_text(config, settings.phase.end_of_thinking)
        Preparation(load_tokenizer(config), settings.repro, settings.phase.end_of_thinking)

    @property
    def preparation(self) -> Preparation:
        """Tables of the trainer's tokenizer, which exists once the trainer has been initialised."""
        if self._prepared is None:
            marker = self.trainer.softthink.phase.end_of_thinking
            self._prepared = Preparation(self.trainer.tokenizer, self.settings, marker)
        return self._prepared

    def before_old_log_prob(self, batch: KVBatchMeta, metrics: dict) -> KVBatchMeta:
        data = tq.kv_batch_get(
            keys=batch.keys, partition_id=batch.partition_id, select_fields=["responses", "reward_model"]
        )
        judged = [getattr(entry, "data", entry) for entry in data["reward_model"]]
        kinds, answers, lengths, first_tokens = [], [], [], []
        for tag, response, entry in zip(batch.tags, data["responses"].unbind(), judged, strict=True):
            if tag.get("is_padding", False):
                kinds.append(uncut(len(response)))
                answers.append(self.preparation.answer(None))
                continue
            thinking = self.preparation.thinking(response)
            kinds.append(thinking.kinds)
            answers.append(self.preparation.answer(entry.get("ground_truth")))
            lengths.append(thinking.length)
            starts = torch.cat((thinking.starts.new_zeros(1), thinking.starts))[: max(thinking.length, 0)]
            first_tokens.append(response[starts])
        metrics.update(text_metrics(lengths, first_tokens, self.preparation.backtracks))
        batch = _put(batch, {KINDS: kinds, ANSWER: answers})
        batch.extra_info[REQUEST] = {"segments": self.settings.segments, "lead_in": self.preparation.lead_in}
        return batch

    def after_old_log_prob(self, batch: KVBatchMeta, metrics: dict) -> KVBatchMeta:
        # Other passes over the model have nothing to score.
        batch.extra_info.pop(REQUEST, None)
        return batch

    def after_advantage(self, batch: KVBatchMeta, metrics: dict) -> KVBatchMeta:
        algorithm = self.trainer.config.algorithm
        names = [CUTS, SURROGATE, SECONDS, "advantages", "response_mask"]
        names += ["values"] if algorithm.adv_estimator == "gae" else []
        data = tq.kv_batch_get(keys=batch.keys, partition_id=batch.partition_id, select_fields=names)
        rows = {name: list(data[name].unbind()) for name in names}
        results = process_rewards(rows[CUTS], [row.float() for row in rows[SURROGATE]], self.settings)
        mask = _padded(rows["response_mask"])
        process = process_advantage(
            algorithm.adv_estimator,
            results.rewards,
            results.cuts,
            results.exists,
            group_numbers(batch.keys),
            mask,
            values=_padded(rows["values"]) if "values" in rows else None,
            gamma=algorithm.gamma,
            lam=algorithm.lam,
        )
        added = self.settings.alpha * process
        real = torch.tensor([not tag.get("is_padding", False) for tag in batch.tags])
        metrics.update(reward_metrics(results.select(real), added[real], mask[real], torch.cat(rows[SECONDS])))
        tokens = [results.of_tokens(row, len(old)) for row, old in enumerate(rows["advantages"])]
        return _put(
            batch,
            {
                "advantages": [old + new[: len(old)] for old, new in zip(rows["advantages"], added, strict=True)],
                PIECE: [piece.float() for piece, _ in tokens],
                REWARD: [reward for _, reward in tokens],
            },
        )


def group_numbers(keys: list[str]) -> Tensor:
    """[N] int64 in [0, N): equal for responses to one prompt, of verl's keys ``{prompt uid}_{session}_{index}``."""
    numbers: dict[str, int] = {}
    return torch.tensor([numbers.setdefault(key.rsplit("_", 2)[0], len(numbers)) for key in keys])


def _put(batch: KVBatchMeta, fields: dict[str, list[Tensor]]) -> KVBatchMeta:
    """Write jagged fields; the batch's tags and settings stay."""
    jagged = {name: torch.nested.as_nested_tensor(rows, layout=torch.jagged) for name, rows in fields.items()}
    written = tq.kv_batch_put(
        keys=batch.keys, partition_id=batch.partition_id, fields=TensorDict(jagged, batch_size=len(batch))
    )
    batch.fields = written.fields
    return batch


def _padded(rows: list[Tensor]) -> Tensor:
    return pad_sequence(rows, batch_first=True)
