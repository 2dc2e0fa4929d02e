"""Soft rollouts in vLLM: one soft and one ordinary request in the same batch, and what the trace tells.

python examples/03_soft_rollout.py
"""

from verl_softthink.pocket import checkpoint_path
from verl_softthink.standalone import choose_platform, vllm_engine

TAU = 0.3


def main() -> None:
    choose_platform()
    from vllm import SamplingParams

    from verl_softthink.laws import Action, get_law
    from verl_softthink.trace import unpack_rows

    soft = {
        "law": {"name": "gumbel", "tau": TAU},
        "filter": {"top_k": 5, "top_p": 1.0, "max_topk": 5},
        "phase": {"end_of_thinking": "</think>", "budget": 56},
        "seed": 2,
    }
    with vllm_engine(checkpoint_path(), max_model_len=128, max_num_seqs=2, disable_log_stats=True) as llm:
        tokenizer = llm.get_tokenizer()
        prompt = tokenizer.apply_chat_template(
            [{"role": "user", "content": "7+8*3-9"}], tokenize=False, add_generation_prompt=True
        )
        requests = [
            SamplingParams(max_tokens=64, temperature=1.0, extra_args={"softthink": soft}),
            SamplingParams(max_tokens=64, temperature=1.0, seed=2),
        ]
        thoughtful, ordinary = (output.outputs[0] for output in llm.generate([prompt] * 2, requests, use_tqdm=False))

    print("ordinary:", repr(ordinary.text), "| trace:", ordinary.routed_experts)
    print("soft:    ", repr(tokenizer.decode(list(thoughtful.token_ids))))
    trace = unpack_rows(thoughtful.routed_experts)
    law = get_law("gumbel")
    weights = law.weights(Action(ids=trace.ids.long(), values=trace.values), law.columns(len(trace), tau=TAU))
    print("thinking ended by:", trace.end_reason)
    for position in range(min(12, len(trace))):
        if trace.soft[position]:
            pairs = sorted(zip(weights[position].tolist(), trace.ids[position].tolist(), strict=True), reverse=True)
            shares = "  ".join(f"{tokenizer.decode([i])!r} {w:.2f}" for w, i in pairs if w >= 0.01)
            print(f"{position + 1:3}  log-density {float(trace.log_prob[position]):7.2f}   {shares}")
    assert len(trace) == len(thoughtful.token_ids) and trace.soft.any() and ordinary.routed_experts is None


# vLLM starts processes that import this file.
if __name__ == "__main__":
    main()
