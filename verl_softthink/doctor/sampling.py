"""What the doctor asks of a model, as the run would: its prompts, its soft requests, its lengths."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from verl_softthink.config.settings import FilterSettings, LawSettings, SoftThinkSettings
from verl_softthink.rollout.request import EXTRA_ARGS_KEY

if TYPE_CHECKING:
    from omegaconf import DictConfig

Messages = list[dict[str, str]]
#: Asked where there is no configuration with prompts of its own.
BUILT_IN: tuple[tuple[str, str], ...] = (
    ("What is 3 + 4?", "7"),
    ("Tom has 5 apples and buys 8 more. How many apples does he have?", "13"),
    ("What is 9 * 6?", "54"),
    ("A train leaves at 3 o'clock and takes 4 hours. At what time does it arrive?", "7"),
)
#: Prompts taken from the data, and longest responses to either kind of prompt: a CPU writes so much in minutes.
PROMPTS, MOST_TOKENS, BUILT_IN_TOKENS = 4, 512, 128


@dataclass(frozen=True)
class Sampling:
    """Requests to one engine.

    Attributes:
        model: checkpoint.
        settings: of the node; soft requests where it has a law.
        prompts: chat messages of each prompt.
        answers: ground truth of each prompt, or None.
        source: what the prompts are, for sentences.
        tokens: most of a response.
        prompt_tokens: most of a prompt; a longer one is not asked.
        template: further arguments of the chat template.
        parameters: of vLLM's ``SamplingParams``: temperature and filters of ordinary tokens.
        engine: arguments of vLLM's ``LLM`` that the configuration sets.
    """

    model: str
    settings: SoftThinkSettings
    prompts: Sequence[Messages]
    answers: Sequence[object]
    source: str
    tokens: int = BUILT_IN_TOKENS
    prompt_tokens: int = BUILT_IN_TOKENS
    template: dict = field(default_factory=dict)
    parameters: dict = field(default_factory=lambda: {"temperature": 1.0})
    engine: dict = field(default_factory=dict)

    @property
    def additional_config(self) -> dict:
        """Room for the traces of its soft requests, and of those with default settings."""
        law = self.settings.law or LawSettings()
        room = {
            "max_candidates": max(FilterSettings().max_topk, self.settings.filter.max_topk, law.slots),
            "carries_embeddings": law.carries_embedding,
        }
        return {EXTRA_ARGS_KEY: room}

    def extra_args(self, seed: int) -> dict:
        """What makes a request a soft one; nothing without a law."""
        if self.settings.law is None:
            return {}
        request = self.settings.request(seed).model_dump()
        if (request["phase"]["budget"] or 0) >= self.tokens:
            # Of a longer response than is sampled.
            request["phase"]["budget"] = None
        return {EXTRA_ARGS_KEY: request}


def built_in(model: str) -> Sampling:
    """A few questions, under the default law and marker."""
    return Sampling(
        model=model,
        settings=SoftThinkSettings(law=LawSettings()),
        prompts=[[{"role": "user", "content": question}] for question, _ in BUILT_IN],
        answers=[answer for _, answer in BUILT_IN],
        source=f"{len(BUILT_IN)} built-in questions",
    )


def configured(model: str | None, config: "DictConfig", settings: SoftThinkSettings) -> Sampling:
    """As a run of ``config`` would ask, on ``model`` or the configuration's own.

    Prompts are the first ones of the training data, where that is a local parquet file of chat messages, and built-in
    questions otherwise.
    """
    from omegaconf import OmegaConf

    data, rollout = config.data, config.actor_rollout_ref.rollout
    asked = built_in(model or str(config.actor_rollout_ref.model.path))
    rows, file = _first_rows(config)
    cache = OmegaConf.select(rollout, "engine_kwargs.vllm.kv_cache_memory_bytes")
    return Sampling(
        model=asked.model,
        settings=settings,
        prompts=[row[data.prompt_key] for row in rows] or asked.prompts,
        answers=[(row.get("reward_model") or {}).get("ground_truth") for row in rows] or asked.answers,
        source=f"the first {len(rows)} prompts of {file}" if rows else asked.source,
        tokens=min(data.max_response_length, MOST_TOKENS),
        prompt_tokens=data.max_prompt_length,
        template=OmegaConf.to_container(data.get("apply_chat_template_kwargs") or OmegaConf.create({}), resolve=True),
        parameters={"temperature": rollout.temperature, "top_p": rollout.top_p, "top_k": rollout.top_k},
        engine={
            "tensor_parallel_size": rollout.tensor_model_parallel_size,
            "trust_remote_code": bool(config.actor_rollout_ref.model.trust_remote_code),
        }
        | ({} if cache is None else {"kv_cache_memory_bytes": cache}),
    )


def _first_rows(config: "DictConfig") -> tuple[list[dict], Path]:
    """Rows of the first file of the training data that are chats, and the file."""
    import pyarrow.parquet as parquet

    files, key = config.data.train_files, config.data.prompt_key
    file = Path(files if isinstance(files, str) else files[0]).expanduser()
    if file.suffix != ".parquet" or not file.is_file():
        return [], file
    batch = next(parquet.ParquetFile(file).iter_batches(batch_size=PROMPTS), None)
    rows = [] if batch is None else batch.to_pylist()
    return [row for row in rows if isinstance(row.get(key), list)], file
