"""The stages in their order. A complete stage is skipped, an interrupted one continues; engines start when needed.

sample   traces from the posterior, which sees the hint        vLLM
score    log pi(z | x) and log q(z | x, y')                     transformers
verify   m answers of the model after each trace, judged        vLLM
weigh    self-normalised weights
write    train.parquet for verl's SFT trainer
"""

import logging
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from verl_softthink.data.parquet import write_rows
from verl_softthink.methods.variational.offline.questions import read_questions
from verl_softthink.methods.variational.offline.settings import OfflineSettings
from verl_softthink.methods.variational.offline.stages import Stages
from verl_softthink.methods.variational.offline.store import Store
from verl_softthink.methods.variational.offline.training_rows import training_rows

STAGES = ("sample", "score", "verify", "weigh", "write")

logger = logging.getLogger(__name__)


def run(settings: OfflineSettings, work: Path, *, until: str = STAGES[-1]) -> None:
    """Run all stages up to and with ``until`` in the directory ``work``.

    Raises:
        ValueError: naming the setting, its value and the fix.
    """
    from transformers import AutoTokenizer

    store = Store(work, settings)
    stages = Stages(settings, AutoTokenizer.from_pretrained(settings.model))
    questions = [{"question": question.as_dict()} for question in read_questions(Path(settings.questions))]
    shards = [questions[start : start + settings.shard] for start in range(0, len(questions), settings.shard)]
    steps = {"sample": _sample, "score": _score, "verify": _verify, "weigh": _weigh}
    for name in STAGES[: STAGES.index(until) + 1]:
        if name == "write":
            _write(store, stages, shards)
            continue
        if store.pending(name, len(shards)):
            with ExitStack() as engines:
                store.run(name, shards, steps[name](stages, engines))
        shards = store.read(name, len(shards))


def _sample(stages: Stages, engines: ExitStack):
    return partial(stages.sample, sampler=_sampler(stages.settings.posterior_model or stages.settings.model, engines))


def _score(stages: Stages, engines: ExitStack):
    from verl_softthink.methods.variational.offline.likelihood import load_model

    model = load_model(stages.settings.model)
    other = stages.settings.posterior_model
    return partial(stages.score, model=model, posterior=load_model(other) if other else model)


def _verify(stages: Stages, engines: ExitStack):
    if stages.settings.answer != "accuracy":
        return list  # The reference answer was scored; nothing is sampled.
    from verl.utils.import_utils import load_extern_object

    judge = load_extern_object(stages.settings.reward, "compute_score")
    return partial(stages.verify, sampler=_sampler(stages.settings.model, engines), judge=judge)


def _weigh(stages: Stages, engines: ExitStack):
    return stages.weigh


def _sampler(model: str, engines: ExitStack):
    from verl_softthink.methods.variational.offline.sampling import sample
    from verl_softthink.standalone import vllm_engine

    return partial(sample, engines.enter_context(vllm_engine(model)))


def _write(store: Store, stages: Stages, shards: list[list[dict]]) -> None:
    records = [record for shard in shards for record in shard]
    rows = training_rows(records, stages)
    path = store.root / "train.parquet"
    write_rows(rows, path)
    used = [record["effective_sample_size"] for record in records if record["effective_sample_size"]]
    logger.info(
        "%s: %d rows of %d questions (%d without a right answer); effective sample size %.2f of %d",
        path,
        len(rows),
        len(records),
        len(records) - len(used),
        sum(used) / max(len(used), 1),
        stages.settings.traces,
    )
