"""The stages in their order. A complete stage is skipped, an interrupted one continues; engines start when needed.

sample   thoughts from the posterior, which sees the hint       vLLM
score    log pi(z | x) and log q(z | x, y')                     transformers
verify   m answers of the model after each thought, rewarded    vLLM
weigh    self-normalised weights
write    train.parquet for verl's SFT trainer

Each stage but the last is a folder of shards in the working directory, and each shard is complete or absent:

    WORK/settings.json         the settings of every file below
    WORK/<stage>/00000.jsonl   one JSON record per question of the shard
"""

import json
import logging
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from rich.progress import track

from verl_softthink.data.parquet import write_rows
from verl_softthink.methods.variational.offline.questions import read_questions
from verl_softthink.methods.variational.offline.settings import OfflineSettings
from verl_softthink.methods.variational.offline.stages import Stages, training_rows

STAGES = ("sample", "score", "verify", "weigh", "write")

logger = logging.getLogger(__name__)


class Store:
    """The working directory.

    Raises:
        ValueError: when it holds the results of other settings.
    """

    def __init__(self, root: Path, settings: OfflineSettings):
        self.root = root
        root.mkdir(parents=True, exist_ok=True)
        file, wanted = root / "settings.json", settings.model_dump(mode="json")
        if file.exists():
            found = json.loads(file.read_text(encoding="utf-8"))
            different = [key for key in wanted if found.get(key) != wanted[key]]
            if different:
                key = different[0]
                raise ValueError(
                    f"{root} holds the results of other settings ({key}={found.get(key)!r}, now {wanted[key]!r}); "
                    "choose another --work, or remove that directory"
                )
        else:
            _write_whole(file, json.dumps(wanted, indent=2))

    def shard(self, stage: str, number: int) -> Path:
        """The file of one shard."""
        return self.root / stage / f"{number:05d}.jsonl"

    def pending(self, stage: str, shards: int) -> list[int]:
        """Numbers of the shards that do not exist yet."""
        return [number for number in range(shards) if not self.shard(stage, number).exists()]

    def run(
        self, stage: str, shards: Sequence[Sequence[dict]], compute: Callable[[Sequence[dict]], list[dict]]
    ) -> None:
        """Compute the missing shards of a stage from its inputs, with a progress bar.

        Args:
            shards: the inputs of every shard.
            compute: one record for each input.
        """
        for number in track(self.pending(stage, len(shards)), description=f"{stage:>8}"):
            records = compute(shards[number])
            _write_whole(self.shard(stage, number), "".join(json.dumps(record) + "\n" for record in records))

    def read(self, stage: str, shards: int) -> list[list[dict]]:
        """The records of a complete stage, by shard."""
        return [
            [json.loads(line) for line in self.shard(stage, number).read_text(encoding="utf-8").splitlines()]
            for number in range(shards)
        ]


def _write_whole(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial_file = path.with_suffix(".partial")
    partial_file.write_text(text, encoding="utf-8")
    partial_file.replace(path)


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
    from verl_softthink.methods.variational.offline.models import load_model

    model = load_model(stages.settings.model)
    other = stages.settings.posterior_model
    return partial(stages.score, model=model, posterior=load_model(other) if other else model)


def _verify(stages: Stages, engines: ExitStack):
    if stages.settings.answer != "accuracy":
        return list  # The reference answer has been scored already; none is sampled.
    from verl.utils.import_utils import load_extern_object

    reward = load_extern_object(stages.settings.reward, "compute_score")
    return partial(stages.verify, sampler=_sampler(stages.settings.model, engines), reward=reward)


def _weigh(stages: Stages, engines: ExitStack):
    return stages.weigh


def _sampler(model: str, engines: ExitStack):
    from verl_softthink.methods.variational.offline.models import sample
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
        stages.settings.thoughts,
    )
