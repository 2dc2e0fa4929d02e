"""The benchmark runs at a small size, and its naive passes cover exactly the cuts that were scored."""

from dataclasses import replace

from verl_softthink.bench.training_pass import PROMPT_TOKENS
from verl_softthink.methods.repro.bench import ANSWER_TOKENS, QUICK, SEGMENT_TOKENS, run

TINY = replace(QUICK, layers=1, sequences=2, tokens=PROMPT_TOKENS + 4 * SEGMENT_TOKENS, repeats=1)


def test_the_quick_benchmark_runs(process_group):
    result = run(TINY)
    assert result["bench"] == "repro"
    assert [len(result["raw"][name]) for name in ("plain", "scored")] == [1, 1]
    assert result["ratio"] > 0 and result["memory_ratio"] > 0.5
    # Six prefixes a response, about half as long as it is.
    assert result["naive_ratio"] > result["ratio"]
    assert result["settings"]["answer_tokens"] == ANSWER_TOKENS
    assert "naive_ratio" not in run(TINY, naive=False)
