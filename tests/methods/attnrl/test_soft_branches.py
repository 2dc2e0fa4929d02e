"""Branches of soft responses: what is requested of the server, and rows equal to those of a loop over positions."""

import asyncio

import pytest
import torch
from omegaconf import OmegaConf
from support.composing import composed
from support.loops import agent_loop
from transformers import AutoTokenizer

from verl_softthink.config.settings import LawSettings
from verl_softthink.laws import NO_CANDIDATE
from verl_softthink.likelihood.fields import FED, IDS, SCALE, SEED, SOFT, VALUES
from verl_softthink.methods.attnrl.fields import ABORTED, BRANCH, PREFIX_TRACE
from verl_softthink.methods.attnrl.plan import Branch, ScoredResponse
from verl_softthink.methods.attnrl.samples import PromptSamples, Sample, sampled_tokens
from verl_softthink.methods.attnrl.steps import Steps
from verl_softthink.methods.attnrl.training_rows import training_rows
from verl_softthink.pocket import checkpoint_path
from verl_softthink.rollout.fields import (
    DISCRETE,
    DISCRETE_POSITIONS,
    END_REASON,
    FORCED,
    OCCURRENCE,
    ROWS_FIELD,
    from_row,
    to_extra_fields,
    to_fields,
)
from verl_softthink.rollout.prefix import decode_prefix, encode_prefix
from verl_softthink.trace import END_REASONS, SoftTrace, pack_rows

PROMPT, LENGTH, WIDTH, HIDDEN = [7, 8, 9], 10, 3, 4
LAWS = {
    "gumbel": {"name": "gumbel"},
    "embedding": {"name": "gaussian"},
    "seed": {"name": "gaussian", "normalise_over": "candidates", "fed": "seed"},
}
#: Kinds of positions: soft, a discrete token of thinking, the draw that ends thinking, a forced token, an answer.
DRAWN, SAMPLED, LAST_DRAW, FORCED_TOKEN, ANSWER = "dtlfa"


def trace_of(kinds: str, law: str, number: int, reason: str) -> SoftTrace:
    """All numbers of a position are distinct: 100 per response, plus the position."""
    places = torch.arange(len(kinds)) + 100 * number
    drawn = torch.tensor([kind in DRAWN + LAST_DRAW for kind in kinds])
    ids = torch.stack([places, places + 1, torch.full_like(places, NO_CANDIDATE)], dim=-1).int()
    return SoftTrace(
        soft=torch.tensor([kind == DRAWN for kind in kinds]),
        drawn=drawn,
        forced=torch.tensor([kind == FORCED_TOKEN for kind in kinds]),
        ids=ids.where(drawn[:, None], NO_CANDIDATE),
        values=(ids / 10).where(drawn[:, None], torch.tensor(0.0)),
        log_prob=-places / 7,
        entropy=places / 3,
        end_reason=reason,
        discrete=torch.tensor([kind == SAMPLED for kind in kinds]),
        scale=(places / 11).where(drawn, torch.tensor(0.0)),
        fed=places[:, None].float().expand(-1, HIDDEN).contiguous() if law == "embedding" else None,
        seed=torch.full((len(kinds),), number) if law == "seed" else None,
    )


def tokens_of(trace: SoftTrace, number: int) -> list[int]:
    return [int(ids[0]) if ids[0] != NO_CANDIDATE else 50 + number for ids in trace.ids]


def row_of(trace: SoftTrace, number: int, settings) -> dict:
    """A row of the queue as the soft agent loop writes it."""
    responses = torch.tensor(tokens_of(trace, number))
    whole = torch.cat([torch.tensor(PROMPT), responses])
    scores = torch.zeros(len(responses))
    scores[-1] = number % 2
    mask = (~trace.forced).long()
    return to_fields(trace, settings) | {
        "prompts": torch.tensor(PROMPT),
        "responses": responses,
        "response_mask": mask,
        "loss_mask": mask,
        "input_ids": whole,
        "position_ids": torch.arange(len(whole)),
        "rm_scores": scores,
        "rollout_log_probs": trace.log_prob,
        "extra_fields": to_extra_fields(trace),
    }


class Server:
    """verl's server client: continues with a given trace, or is aborted before the first token."""

    def __init__(self, trace: SoftTrace | None, number: int):
        self.trace, self.number, self.asked = trace, number, None

    async def generate(self, request_id, prompt_ids, sampling_params, **other):
        from verl.workers.rollout.replica import TokenOutput

        self.asked = list(prompt_ids), sampling_params
        if self.trace is None:
            return TokenOutput(token_ids=[], log_probs=None, stop_reason="aborted")
        trace, zeros = self.trace, torch.zeros(len(self.trace))
        reason = zeros.int()
        if trace.end_reason != "none":
            reason[trace.end_of_thinking] = END_REASONS.index(trace.end_reason)
        names = ("drawn", "soft", "forced", "discrete", "log_prob", "entropy", "scale", "ids", "values", "fed")
        rows = pack_rows(cut=zeros.bool(), reason=reason, **{name: getattr(trace, name) for name in names})
        return TokenOutput(
            token_ids=tokens_of(trace, self.number),
            log_probs=trace.log_prob.tolist(),
            stop_reason="completed",
            extra_fields={ROWS_FIELD: rows.numpy()},
        )


@pytest.fixture(scope="module")
def branch():
    from verl_softthink.methods.attnrl.agent_loop import BranchAgentLoop
    from verl_softthink.training.check import check_config

    base = ["+softthink=[soft_grpo,attnrl]", f"actor_rollout_ref.model.path={checkpoint_path()}"]
    tokenizer = AutoTokenizer.from_pretrained(checkpoint_path())

    def run(law, request, server, **row):
        settings = ",".join(f"{key}: {value}" for key, value in LAWS[law].items())
        limits = [f"data.max_response_length={LENGTH}", "data.max_prompt_length=8", "data.train_batch_size=8"]
        micro = [f"actor_rollout_ref.{name}_micro_batch_size_per_gpu=2" for name in ("actor.ppo", "rollout.log_prob")]
        config = composed(
            [*base, *limits, *micro, "actor_rollout_ref.actor.ppo_mini_batch_size=8"],
            *(f"softthink.law={{{settings}}}", "actor_rollout_ref.actor.use_kl_loss=false"),
        )
        OmegaConf.resolve(config)
        loop = agent_loop(BranchAgentLoop, config, server, tokenizer)
        row = {"raw_prompt": [], "global_steps": 2, "session_id": 0, OCCURRENCE: 0} | row
        output = asyncio.run(loop.run({"temperature": 1.0}, **{BRANCH: request}, **row))
        return output.as_dict(), check_config(config)

    return run


def prompt_of(first: SoftTrace, cuts, settings) -> PromptSamples:
    initial = [Sample(row_of(first, 1, settings), {"min_global_steps": 1})]
    scored = [ScoredResponse(Steps((len(first),)), torch.zeros(1), True)]
    return PromptSamples("q", 0, initial, scored, [torch.arange(len(first)) / -2], [Branch(0, cut) for cut in cuts])


@pytest.mark.parametrize("law", LAWS)
@pytest.mark.parametrize(
    ("kinds", "cut", "own"), [("ddtdlfaa", 3, "dlfaaa"), ("ddtdlfaa", 6, "aaa"), ("dddd", 2, "dd")]
)
def test_a_row_is_the_prefix_and_the_continuation_position_by_position(branch, law, kinds, cut, own):
    settings = LawSettings(**LAWS[law])
    first = trace_of(kinds, law, 1, "marker" if LAST_DRAW in kinds else "none")
    second = trace_of(own, law, 2, "marker" if LAST_DRAW in own else "none")
    prompt = prompt_of(first, [cut, cut], settings)
    server = Server(second, 2)
    asked_for = prompt.request(1, settings)
    fields, _ = branch(law, asked_for, server)
    asked, sampling = server.asked
    request = sampling["extra_args"]["softthink"]
    assert asked == PROMPT + tokens_of(first, 1)[:cut] and sampling["max_tokens"] == LENGTH - cut
    assert request["prefix"]["length"] == cut
    # The row that verl makes of the request holds the prefix once, in its own trace.
    assert PREFIX_TRACE not in asked_for

    length, mine = cut + len(own), row_of(first, 1, settings)
    theirs = row_of(second, 2, settings)
    assert len(fields["responses"]) == length
    names = [SOFT, FORCED, DISCRETE, IDS, VALUES, "responses", "response_mask", "rollout_log_probs"]
    names += {"gumbel": [], "embedding": [SCALE, FED], "seed": [SCALE]}[law]
    for name in names:
        for position in range(length):
            source, place = (mine, position) if position < cut else (theirs, position - cut)
            assert fields[name][position].tolist() == pytest.approx(source[name][place].tolist()), (name, position)
    if law == "seed":
        assert fields[SEED].tolist() == [1] * cut + [request["seed"]] * len(own)
    assert (FED in fields, SEED in fields) == (law == "embedding", law == "seed")
    ended = LAST_DRAW in kinds[:cut] + own
    assert fields["extra_fields"][END_REASON] == ("marker" if ended else "none")
    assert fields["extra_fields"][DISCRETE_POSITIONS] == (kinds[:cut] + own).count(SAMPLED)
    assert ROWS_FIELD not in fields["extra_fields"]
    # Forced tokens count as part of the response, though they are masked from the loss.
    assert sampled_tokens(fields) == length


def test_siblings_have_seeds_of_their_own_which_a_resumed_run_repeats(branch):
    first = trace_of("dddd", "gumbel", 1, "none")
    prompt = prompt_of(first, [2, 2, 3], LawSettings(**LAWS["gumbel"]))

    def seed(number, **row):
        server = Server(trace_of("dd", "gumbel", 2, "none"), 2)
        branch("gumbel", prompt.request(number, LawSettings(**LAWS["gumbel"])), server, **row)
        return server.asked[1]["extra_args"]["softthink"]["seed"]

    seeds = [seed(0), seed(1), seed(2), seed(0, global_steps=3), seed(0, raw_prompt=[{"content": "?"}])]
    seeds.append(seed(0, **{OCCURRENCE: 1}))
    assert len(set(seeds)) == len(seeds)
    assert seeds[:2] == [seed(0), seed(1)]


def test_an_aborted_continuation_has_the_trace_of_its_prefix(branch):
    first = trace_of("dddd", "gumbel", 1, "none")
    settings = LawSettings(**LAWS["gumbel"])
    request = prompt_of(first, [3], settings).request(0, settings)
    fields, _ = branch("gumbel", request, Server(None, 2))
    assert fields["extra_fields"][ABORTED] == "aborted, without a token"
    assert fields[SOFT].tolist() == [True] * 3 and len(fields["responses"]) == 3


def test_training_rows_have_their_own_traces(branch):
    settings = LawSettings(**LAWS["gumbel"])
    first = trace_of("dddlfa", "gumbel", 1, "marker")
    prompt = prompt_of(first, [2, 3], settings)
    for number, own in enumerate(("dlfa", "ddd")):
        second = trace_of(own, "gumbel", 2 + number, "marker" if LAST_DRAW in own else "none")
        fields, _ = branch("gumbel", prompt.request(number, settings), Server(second, 2 + number))
        row = row_of(from_row(fields), 2 + number, settings)
        prompt.continuations.append(Sample(row, {"min_global_steps": 2}))
    rows = training_rows(prompt, prompt.tree())
    wanted = [("dddlfa", [1] * 6), ("dddlfa", [1] * 2 + [2] * 4), ("dddddd", [1] * 3 + [3] * 3)]
    for row, (kinds, origin), cut in zip(rows, wanted, (6, 2, 3), strict=True):
        assert row.fields[SOFT].tolist() == [kind == DRAWN for kind in kinds]
        assert row.fields[FORCED].tolist() == [kind == FORCED_TOKEN for kind in kinds]
        drawn = row.fields[SOFT]
        assert (row.fields[IDS][drawn][:, 0] // 100).tolist() == [
            n for n, soft in zip(origin, drawn, strict=True) if soft
        ]
        assert row.fields["response_mask"].tolist() == [int(kind != FORCED_TOKEN) for kind in kinds]
        assert len(row.earlier) == cut


def test_an_encoded_prefix_comes_back_as_it_was():
    for law in LAWS:
        trace = trace_of("ddtdlf", law, 3, "marker")
        again = decode_prefix(encode_prefix(trace, LawSettings(**LAWS[law])))
        assert again.end_reason == "marker" and again.tensors().keys() == trace.tensors().keys()
        assert all(torch.equal(value, getattr(again, name)) for name, value in trace.tensors().items())
        assert decode_prefix(encode_prefix(trace.truncated(3), LawSettings(**LAWS[law]))).end_reason == "none"


def test_traces_of_different_laws_are_not_joined():
    with pytest.raises(ValueError, match=r"different fields cannot be joined \(\['fed'\]\)"):
        trace_of("dd", "embedding", 1, "none").joined(trace_of("d", "gumbel", 2, "none"))
