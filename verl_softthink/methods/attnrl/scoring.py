"""One pass for old log-probs and influence of the initial responses, then the plan of their branches."""

import torch
from transfer_queue import KVBatchMeta

from verl_softthink.batch import is_padding, prompt_of, put, read, session_of
from verl_softthink.likelihood.fields import SOFT
from verl_softthink.methods.attnrl.fields import INFLUENCE, INFLUENCE_OF, STEPS
from verl_softthink.methods.attnrl.plan import AttentionFilter, ScoredResponse, plan_branches
from verl_softthink.methods.attnrl.response_steps import ResponseParser
from verl_softthink.methods.attnrl.samples import ROW_FIELDS, PromptSamples, Sample, sampled_tokens
from verl_softthink.methods.attnrl.settings import AttnrlSettings
from verl_softthink.methods.stage import Trainer
from verl_softthink.rollout.fields import FORCED, from_row

_SCORES = ("old_log_probs", "entropy", INFLUENCE)


class Scoring:
    """The scoring passes and plans of one run."""

    def __init__(self, trainer: Trainer, settings: AttnrlSettings):
        self._trainer, self._settings = trainer, settings
        self._filter = AttentionFilter() if settings.attention_filter else None
        self._before_last_plan = self._filter.state_dict() if self._filter else None
        self._parser: ResponseParser | None = None

    def filter_state(self, *, before_last_plan: bool) -> dict | None:
        """State of the attention filter, for a checkpoint; None without one.

        Args:
            before_last_plan: the state before the last prompts were planned, which a resumed run plans again.
        """
        if self._filter is None:
            return None
        return self._before_last_plan if before_last_plan else self._filter.state_dict()

    def load(self, filter_state: dict | None) -> None:
        """Restore the attention filter from a checkpoint."""
        if filter_state is not None and self._filter is not None:
            self._filter = AttentionFilter.from_state(filter_state)

    @property
    def parser(self) -> ResponseParser:
        """Made on first use: the trainer has no tokenizer before it is initialised."""
        if self._parser is None:
            phase, separators = self._trainer.softthink.phase, self._settings.separators
            self._parser = ResponseParser(self._trainer.tokenizer, separators, phase.end_of_thinking, phase.match)
        return self._parser

    def score(self, batch: KVBatchMeta, uids: list[str], metrics: dict) -> list[PromptSamples]:
        """Score the rows of a batch, which may contain verl's padding rows, and plan the branches of each prompt.

        Args:
            batch: balanced; its row keys are ``{uid}_{session}_{index}``.
            uids: of the prompts, in the order of their rows in the data.
            metrics: verl's metrics of the pass are added.
        """
        if self._settings.branching == "attention":
            batch = self._put_steps(batch)
            batch.extra_info[INFLUENCE_OF] = {"layers": self._settings.layers, "heads": self._settings.heads}
        # Whole rows are scored even if training passes share prefixes, so the methods' own settings are left out.
        batch.extra_info.update(self._trainer.trace_scoring)
        self._trainer.old_log_probs(batch, metrics)
        batch.extra_info.pop(INFLUENCE_OF, None)
        real = {key: tag for key, tag in zip(batch.keys, batch.tags, strict=True) if not is_padding(tag)}
        keys = sorted(real, key=session_of)
        rows = read(keys, batch.partition_id, (*ROW_FIELDS, *_SCORES))
        of_prompt: dict[str, list[Sample]] = {}
        for key, row in zip(keys, rows, strict=True):
            of_prompt.setdefault(prompt_of(key), []).append(Sample(row, real[key]))
        self._before_last_plan = self._filter.state_dict() if self._filter else None
        generator = torch.Generator().manual_seed((self._settings.seed << 32) + self._trainer.global_steps)
        return [self._planned(uid, index, of_prompt[uid], generator) for index, uid in enumerate(uids)]

    def _planned(self, uid: str, index: int, samples: list[Sample], generator: torch.Generator) -> PromptSamples:
        scored = [self._scored(sample) for sample in samples]
        branches = plan_branches(scored, self._settings, self._filter, generator)
        log_probs = [sample.row["old_log_probs"] for sample in samples]
        return PromptSamples(uid, index, samples, scored, log_probs, branches)

    def _scored(self, sample: Sample) -> ScoredResponse:
        return self.parser.scored(
            sample.row["responses"],
            sample.sampled,
            influence=sample.row.get(INFLUENCE),
            entropy=sample.row["entropy"],
            correct=sample.reward == 1,
            trace=from_row(sample.row) if SOFT in sample.row else None,
        )

    def _put_steps(self, batch: KVBatchMeta) -> KVBatchMeta:
        rows = read(batch.keys, batch.partition_id, ("responses", "response_mask", FORCED))
        steps = [torch.tensor(self.parser.steps(row["responses"], sampled_tokens(row)).lengths) for row in rows]
        return put(batch, {STEPS: steps})
