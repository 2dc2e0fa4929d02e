"""Score one given chain of thought under one checkpoint, outside of training: what ``verl-softthink chain`` shows."""

from dataclasses import dataclass
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from verl_softthink.config.base import parse
from verl_softthink.config.settings import LawSettings
from verl_softthink.errors import about_file
from verl_softthink.files.checkpoint import chat_ids, load_model, load_tokenizer
from verl_softthink.files.reading import read_text
from verl_softthink.files.writing import write_text
from verl_softthink.laws import DISCRETE
from verl_softthink.methods.repro.answer_attention import AnswerAttention
from verl_softthink.methods.repro.cuts import find_cut_positions
from verl_softthink.methods.repro.fields import ANSWER, KINDS
from verl_softthink.methods.repro.kv_capture import KVCapture
from verl_softthink.methods.repro.preparation import Preparation
from verl_softthink.methods.repro.rewards import ProcessRewards, process_rewards
from verl_softthink.methods.repro.scoring import score_cut_positions
from verl_softthink.methods.repro.settings import ReproSettings
from verl_softthink.pocket import OVERTHINKING, checkpoint_path
from verl_softthink.report.token_text import visible
from verl_softthink.report.trace_page import TracedResponse, render_page
from verl_softthink.trace import SoftTrace


@dataclass(frozen=True)
class ScoredChain:
    """One response of T tokens.

    Attributes:
        response: [T] int64.
        log_probs: [T] float32 of its tokens.
        results: rewards of its pieces, a batch of one.
    """

    response: Tensor
    log_probs: Tensor
    results: ProcessRewards

    def pieces(self, tokenizer: PreTrainedTokenizerBase) -> list[str]:
        """The text of every piece."""
        cuts = self.results.cuts[0].tolist()
        spans = zip(cuts, cuts[1:], strict=False)
        return [tokenizer.decode(self.response[begin:end]) for begin, end in spans]


@torch.no_grad()
def score_chain(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prompt: Tensor,
    response: Tensor,
    answer: str,
    settings: ReproSettings,
    marker: str,
) -> ScoredChain:
    """Score a chain.

    Args:
        model: the policy, in evaluation mode.
        tokenizer: its tokenizer.
        prompt, response: [S] and [T] int64 token ids.
        answer: the ground truth.
        settings: how to cut and score.
        marker: the end-of-thinking marker.

    Raises:
        ValueError: an empty answer, or a response without thinking.
    """
    preparation = Preparation(tokenizer, settings, marker)
    thinking = preparation.thinking(response)
    if not answer or not thinking.length:
        raise ValueError(
            f"answer={answer!r} and a thinking region of {thinking.length} tokens: there is nothing to score"
        )
    sequence = torch.cat((prompt, response))
    jagged = {
        name: torch.nested.as_nested_tensor([row], layout=torch.jagged)
        for name, row in {
            KINDS: thinking.kinds,
            ANSWER: preparation.answer(answer),
            "input_ids": sequence,
            "responses": response,
        }.items()
    }
    positions = find_cut_positions(jagged, jagged["input_ids"], jagged["responses"], preparation.lead_in)
    starts = torch.zeros(1, dtype=torch.int64)
    capture = KVCapture(model.config)
    with capture.capturing():
        logits = model(input_ids=sequence[None], use_cache=False).logits
        cuts, surrogate = score_cut_positions(
            lambda tokens, ids, at: capture.score(model, AnswerAttention(tokens, starts), ids, at),
            logits,
            positions,
            starts,
            positions.prefix,
            torch.ones(1),
            segments=settings.segments,
        )
    log_probs = logits[0, len(prompt) - 1 : -1].float().log_softmax(-1).gather(-1, response[:, None])[:, 0]
    return ScoredChain(response, log_probs, process_rewards(cuts, surrogate, settings))


def report_chain(
    problem: str, response: Path, answer: str, model: Path | None, settings: dict, marker: str, out: Path | None
) -> None:
    """Score the response in a text file, show its pieces as a table in the terminal, and write a page if asked.

    Args:
        problem: the user's message.
        response: text file; a single line break at its end is dropped.
        answer: the right answer.
        model: checkpoint; the overthinking pocket reasoner when None.
        settings: keys of ``softthink.repro``.
        marker: the end-of-thinking marker.
        out: HTML file to write.

    Raises:
        FileError: the response or the checkpoint cannot be read, or there is nothing to score.
        ValueError: wrong settings.
    """
    path = model or checkpoint_path(OVERTHINKING)
    parsed = parse(ReproSettings, settings, "softthink.repro")
    text = read_text(response).removesuffix("\n")
    tokenizer = load_tokenizer(path)
    prompt = torch.tensor(chat_ids(tokenizer, [{"role": "user", "content": problem}]))
    ids = torch.tensor(tokenizer.encode(text, add_special_tokens=False), dtype=torch.int64)
    policy = load_model(path, dtype=torch.float32, attn_implementation="sdpa")
    with about_file(response, ValueError):
        chain = score_chain(policy, tokenizer, prompt, ids, answer, parsed, marker)
    Console().print(_table(chain, tokenizer))
    if out is not None:
        piece, reward = chain.results.of_tokens(0, len(ids))
        page = TracedResponse(
            trace=SoftTrace.of_tokens(chain.log_probs),
            token_ids=ids.tolist(),
            tokenizer=tokenizer,
            law=LawSettings(name=DISCRETE),
            prompt=tokenizer.decode(prompt),
            answer=answer,
            pieces=piece.tolist(),
            piece_rewards=reward.tolist(),
        )
        write_text(render_page([page], title=f"Process rewards: {problem}"), out)


def _table(chain: ScoredChain, tokenizer: PreTrainedTokenizerBase) -> Table:
    table = Table("piece", "J before", "J after", "magnitude", "stability", "score", "reward")
    results = chain.results
    columns = (results.surrogate, *results.scores)
    surrogate, magnitude, stability, total = (column[0].tolist() for column in columns)
    for number, text in enumerate(chain.pieces(tokenizer)):
        after = number + 1
        cells = (surrogate[number], surrogate[after], magnitude[after], stability[after], total[after])
        table.add_row(visible(text), *(f"{value:.3f}" for value in cells), f"{float(results.rewards[0, number]):+.3f}")
    return table
