"""The stages in their order. A complete stage is skipped, an interrupted one continues; engines start when needed.

sample   thoughts from the posterior, which sees the hint       vLLM
score    log pi(z | x) and log q(z | x, y')                     transformers
verify   m answers of the model after each thought, rewarded    vLLM
weigh    self-normalised weights
write    train.parquet for verl's SFT trainer

Each stage but the last is a folder of shards in the working directory, and each shard is complete or absent:

    WORK/settings.json         what every file below depends on (``files.work_folder``)
    WORK/<stage>/00000.jsonl   one JSON record per question of the shard
"""

import importlib.util
import json
import logging
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

from rich.progress import track

from verl_softthink.data.parquet import write_rows
from verl_softthink.errors import FileError
from verl_softthink.files.checkpoint import check_model, load_tokenizer
from verl_softthink.files.digests import file_digest, model_digest
from verl_softthink.files.reading import read_json_lines
from verl_softthink.files.work_folder import WorkFolder
from verl_softthink.files.writing import write_text
from verl_softthink.methods.variational.offline.questions import read_questions
from verl_softthink.methods.variational.offline.records import problem_of
from verl_softthink.methods.variational.offline.settings import OfflineSettings
from verl_softthink.methods.variational.offline.stages import Stages, training_rows

STAGES = ("sample", "score", "verify", "weigh", "write")
#: How verl writes that a module is imported by its name.
_PACKAGE = "pkg://"

logger = logging.getLogger(__name__)


class Store:
    """The shards of all stages.

    Args:
        folder: which holds results of these inputs alone, and is this process's.
    """

    def __init__(self, folder: WorkFolder):
        self.root = folder.path

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
            write_text("".join(json.dumps(record) + "\n" for record in records), self.shard(stage, number))

    def read(self, stage: str, shards: Sequence[Sequence[dict]]) -> list[list[dict]]:
        """The records of a complete stage, by shard.

        Args:
            shards: the inputs of every shard.

        Raises:
            FileError: a shard is damaged.
        """
        return [self._read(stage, self.shard(stage, number), inputs) for number, inputs in enumerate(shards)]

    def _read(self, stage: str, path: Path, inputs: Sequence[dict]) -> list[dict]:
        records = [record for _, record in read_json_lines(path)]
        advice = "remove the file, and it is computed again"
        if len(records) != len(inputs):
            raise FileError(path, f"it has {len(records)} records of {len(inputs)} questions; {advice}")
        for number, (record, before) in enumerate(zip(records, inputs, strict=True), start=1):
            if problem := problem_of(record, stage, before, f"{path}:{number}"):
                raise FileError(f"{path}:{number}", f"{problem}; {advice}")
        return records


def inputs_of(settings: OfflineSettings) -> dict[str, Any]:
    """What the results depend on: digests of the questions, the models and the reward's module, and all settings.

    Raises:
        FileError: one of them cannot be read.
    """
    posterior = settings.posterior_model
    return settings.model_dump(mode="json") | {
        "questions": file_digest(Path(settings.questions)),
        "model": model_digest(settings.model),
        "posterior_model": None if posterior is None else model_digest(posterior),
        "reward_module": file_digest(_module_file(settings.reward)),
    }


def _module_file(reward: str) -> Path:
    """The file of a module as verl names it: ``pkg://<module>``, or a path with or without ``file://``."""
    if not reward.startswith(_PACKAGE):
        return Path(reward.removeprefix("file://"))
    spec = importlib.util.find_spec(reward.removeprefix(_PACKAGE))
    if spec is None or spec.origin is None:
        raise ValueError(f"reward={reward!r}: there is no such module; give pkg://MODULE or the path of a .py file")
    return Path(spec.origin)


def run(settings: OfflineSettings, work: Path, *, until: str = STAGES[-1]) -> None:
    """Run all stages up to and with ``until`` in the directory ``work``.

    Raises:
        FileError: a damaged file, or a directory that is another process's or holds the results of other inputs.
        ValueError: naming the setting, its value and the fix.
    """
    questions = [{"question": question.as_dict()} for question in read_questions(Path(settings.questions))]
    for model in filter(None, (settings.model, settings.posterior_model)):
        check_model(model)
    stages = Stages(settings, load_tokenizer(settings.model))
    shards = [questions[start : start + settings.shard] for start in range(0, len(questions), settings.shard)]
    steps = {"sample": _sample, "score": _score, "verify": _verify, "weigh": _weigh}
    with WorkFolder(work, inputs_of(settings), option="--work") as folder:
        store = Store(folder)
        for name in STAGES[: STAGES.index(until) + 1]:
            if name == "write":
                _write(store, stages, shards)
                continue
            if store.pending(name, len(shards)):
                with ExitStack() as engines:
                    store.run(name, shards, steps[name](stages, engines))
            shards = store.read(name, shards)


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
