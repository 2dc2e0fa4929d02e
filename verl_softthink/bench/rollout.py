"""``verl-softthink bench rollout``: throughput of soft against ordinary requests in one vLLM engine.

Same engine, prompts and lengths, both with log-probs as verl asks for them; whole generations are interleaved
(A B A B ...) and medians compared, because machines drift. The ordinary requests are what discrete RL rollouts are:
temperature 1 over the whole vocabulary.
"""

import random
import statistics
import time
from pathlib import Path

from verl_softthink.config.settings import LawSettings
from verl_softthink.laws import DEFAULT
from verl_softthink.standalone import vllm_engine

#: Prompt length in tokens; decoding dominates.
PROMPT_TOKENS = 32


def run(
    model: Path,
    *,
    law: str = DEFAULT,
    batch: int = 32,
    tokens: int = 128,
    repeats: int = 5,
    candidates: int = 5,
    compile_step: bool = False,
) -> dict:
    """Measure and return ``ratio`` = soft over ordinary throughput, with the raw medians in tokens per second.

    Raises:
        RuntimeError: when a soft request came back without its trace, or an ordinary one with one.
    """
    with vllm_engine(
        model,
        max_model_len=PROMPT_TOKENS + tokens + 1,
        max_num_seqs=batch,
        enable_prefix_caching=False,
        disable_log_stats=True,
        additional_config={
            "softthink": {
                "max_candidates": candidates,
                "carries_embeddings": LawSettings(name=law).carries_embedding,
                "compile_step": compile_step,
            }
        },
    ) as llm:
        result = _measure(llm, law=law, batch=batch, tokens=tokens, repeats=repeats, candidates=candidates)
    result["settings"] = {"model": Path(model).name, "compile_step": compile_step} | result["settings"]
    return result


def _measure(llm, *, law: str, batch: int, tokens: int, repeats: int, candidates: int) -> dict:
    from vllm import SamplingParams

    vocabulary = llm.llm_engine.model_config.get_vocab_size()
    rng = random.Random(0)
    prompts = [
        {"prompt_token_ids": [rng.randrange(10, vocabulary) for _ in range(PROMPT_TOKENS)]} for _ in range(batch)
    ]

    def generate(soft: bool) -> float:
        params = [
            SamplingParams(
                max_tokens=tokens,
                temperature=1.0,
                logprobs=0,
                ignore_eos=True,
                detokenize=False,
                extra_args={"softthink": _request(law, candidates, seed)} if soft else None,
            )
            for seed in range(batch)
        ]
        start = time.perf_counter()
        outputs = llm.generate(prompts, params, use_tqdm=False)
        seconds = time.perf_counter() - start
        for output in outputs:
            if (output.outputs[0].routed_experts is not None) != soft or len(output.outputs[0].token_ids) != tokens:
                raise RuntimeError("the engine did not run the requests as asked; is verl_softthink's plugin disabled?")
        return batch * tokens / seconds

    for soft in (False, True):
        generate(soft)
    ordinary, soft = [], []
    for _ in range(repeats):
        ordinary.append(generate(False))
        soft.append(generate(True))
    return {
        "bench": "rollout",
        "ratio": statistics.median(s / o for s, o in zip(soft, ordinary, strict=True)),
        "soft_tokens_per_second": statistics.median(soft),
        "ordinary_tokens_per_second": statistics.median(ordinary),
        "raw": {"soft": soft, "ordinary": ordinary},
        "settings": {
            "vocabulary": vocabulary,
            "law": law,
            "candidates": candidates,
            "batch": batch,
            "tokens": tokens,
            "repeats": repeats,
        },
    }


def _request(law: str, candidates: int, seed: int) -> dict:
    # No token can end thinking: the marker is a run of the same token that random weights or text never produce.
    return {
        "law": {"name": law},
        "filter": {"top_k": candidates, "max_topk": candidates},
        "phase": {"end_of_thinking": [0] * 16},
        "seed": seed,
    }
