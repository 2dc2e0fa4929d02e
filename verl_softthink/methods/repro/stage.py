"""RePro in a training step: cuts before the old-log-prob pass, scores inside it, process advantages after verl's own.

before   puts the segments of every response and its right answer into the batch
inside   scores the answer after the selected cuts (``engine.AnswerScoring``)
after    replaces verl's ``advantages`` by A_outcome + alpha x A_process
"""

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from transfer_queue import KVBatchMeta

from verl_softthink.batch import get, is_padding, prompt_numbers, put, values_of
from verl_softthink.methods.repro.advantage import process_advantage
from verl_softthink.methods.repro.fields import ANSWER, CUTS, KINDS, PIECE, REQUEST, REWARD, SECONDS, SURROGATE
from verl_softthink.methods.repro.metrics import reward_metrics, text_metrics
from verl_softthink.methods.repro.preparation import Preparation, uncut
from verl_softthink.methods.repro.rewards import process_rewards
from verl_softthink.methods.stage import Stage


class ReproStage(Stage):
    """Adds process advantages to the outcome advantages."""

    dumped = (PIECE, REWARD)

    def __init__(self, trainer, settings):
        super().__init__(trainer, settings)
        self._prepared: Preparation | None = None

    @property
    def preparation(self) -> Preparation:
        """Tables of the trainer's tokenizer, which exists only once the trainer has been initialised."""
        if self._prepared is None:
            phase = self.trainer.softthink.phase
            self._prepared = Preparation(self.trainer.tokenizer, self.settings, phase.end_of_thinking, phase.match)
        return self._prepared

    def before_old_log_prob(self, batch: KVBatchMeta, metrics: dict) -> KVBatchMeta:
        data = get(batch.keys, batch.partition_id, ["responses", "reward_model"])
        reward_models = values_of(data["reward_model"])
        kinds, answers, lengths, first_tokens = [], [], [], []
        for tag, response, entry in zip(batch.tags, data["responses"].unbind(), reward_models, strict=True):
            if is_padding(tag):
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
        batch = put(batch, {KINDS: kinds, ANSWER: answers})
        batch.extra_info[REQUEST] = {"segments": self.settings.segments, "lead_in": self.preparation.lead_in}
        return batch

    def after_old_log_prob(self, batch: KVBatchMeta, metrics: dict) -> KVBatchMeta:
        # Later passes must not score answers.
        batch.extra_info.pop(REQUEST, None)
        return batch

    def after_advantage(self, batch: KVBatchMeta, metrics: dict) -> KVBatchMeta:
        algorithm = self.trainer.config.algorithm
        names = [CUTS, SURROGATE, SECONDS, "advantages", "response_mask"]
        names += ["values"] if algorithm.adv_estimator == "gae" else []
        data = get(batch.keys, batch.partition_id, names)
        rows = {name: list(data[name].unbind()) for name in names}
        results = process_rewards(rows[CUTS], [row.float() for row in rows[SURROGATE]], self.settings)
        mask = _padded(rows["response_mask"])
        process = process_advantage(
            algorithm.adv_estimator,
            results.rewards,
            results.cuts,
            results.exists,
            prompt_numbers(batch.keys),
            mask,
            values=_padded(rows["values"]) if "values" in rows else None,
            gamma=algorithm.gamma,
            lam=algorithm.lam,
        )
        added = self.settings.alpha * process
        real = torch.tensor([not is_padding(tag) for tag in batch.tags])
        metrics.update(reward_metrics(results.select(real), added[real], mask[real], torch.cat(rows[SECONDS])))
        tokens = [results.of_tokens(row, len(old)) for row, old in enumerate(rows["advantages"])]
        return put(
            batch,
            {
                "advantages": [old + new[: len(old)] for old, new in zip(rows["advantages"], added, strict=True)],
                PIECE: [piece.float() for piece, _ in tokens],
                REWARD: [reward for _, reward in tokens],
            },
        )


def _padded(rows: list[Tensor]) -> Tensor:
    return pad_sequence(rows, batch_first=True)
