"""Train the pocket reasoner from scratch: ``python -m verl_softthink.pocket.train --out DIR`` (minutes on two cores).

Next-token prediction on responses of the imperfect corpus (``corpus.py``), then the held-out accuracy at temperature 1
is measured and written, with everything needed to repeat the run, to ``provenance.json`` beside the weights.
"""

import json
import logging
import random
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import torch
import transformers
import typer
from torch import Tensor
from torch.nn.functional import cross_entropy
from transformers import PreTrainedTokenizerBase

from verl_softthink.pocket.corpus import Habits, hinted_question, with_hint, write_response
from verl_softthink.pocket.evaluate import MAX_RESPONSE_LENGTH, evaluate
from verl_softthink.pocket.model import MAX_LENGTH, build_model
from verl_softthink.pocket.overthinking import LONGEST_OVERTHINKING, write_overthinking
from verl_softthink.pocket.tasks import Problem, draw, generate
from verl_softthink.pocket.tokenizer import build_tokenizer

IGNORED_LABEL = -100  # cross_entropy's default
WARMUP_STEPS = 50
ADAM_BETAS = (0.9, 0.98)
WEIGHT_DECAY = 0.01
GRADIENT_CLIP = 1.0
LOG_EVERY = 50
EVALUATION_PROBLEMS = 1000
EVALUATION_SEED = 1

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class TrainingArguments:
    """What the run depends on, beside the code: see ``main`` for the meaning of each."""

    seed: int
    steps: int
    batch_size: int
    learning_rate: float
    slip: float
    hasty_stop: float
    overthink: float
    hint_rate: float


def write_example(problem: Problem, habits: Habits, hint_rate: float, rng: random.Random) -> tuple[str, str]:
    """Prompt and response of one author; with probability ``hint_rate`` the prompt shows the solution."""
    write = write_overthinking if habits.overthink > 0 else write_response
    if hint_rate and rng.random() < hint_rate:
        return hinted_question(problem), write(problem, with_hint(habits), rng)
    return problem.question, write(problem, habits, rng)


def batches(
    tokenizer: PreTrainedTokenizerBase, habits: Habits, batch_size: int, rng: random.Random, hint_rate: float = 0.0
) -> Iterator[tuple[Tensor, Tensor]]:
    """Endless (input ids, labels), each [batch_size, longest]; labels cover the response and its eos only."""
    while True:
        problems = []
        while len(problems) < batch_size:
            problem = draw(rng)
            if problem.split == "pretrain":
                problems.append(problem)
        examples = [write_example(problem, habits, hint_rate, rng) for problem in problems]
        chats = [[{"role": "user", "content": question}] for question, _ in examples]
        prompts = tokenizer.apply_chat_template(chats, add_generation_prompt=True, return_dict=True)["input_ids"]
        responses = tokenizer([response + tokenizer.eos_token for _, response in examples])
        pairs = list(zip(prompts, responses["input_ids"], strict=True))
        shape = (batch_size, max(len(prompt) + len(response) for prompt, response in pairs))
        input_ids = torch.full(shape, tokenizer.pad_token_id)
        labels = torch.full(shape, IGNORED_LABEL)
        for row, (prompt, response) in enumerate(pairs):
            end = len(prompt) + len(response)
            input_ids[row, :end] = torch.tensor(prompt + response)
            labels[row, len(prompt) : end] = torch.tensor(response)
        yield input_ids, labels


def main(
    out: Annotated[Path, typer.Option(help="Folder for the checkpoint.")],
    seed: Annotated[int, typer.Option(help="Seed of the weights and of the corpus.")] = 0,
    steps: Annotated[int, typer.Option(min=WARMUP_STEPS + 1, help="Optimizer steps.")] = 600,
    batch_size: Annotated[int, typer.Option(min=1, help="Responses per step.")] = 32,
    learning_rate: Annotated[float, typer.Option(help="Peak of the linear schedule.")] = 2e-3,
    slip: Annotated[float, typer.Option(help="Rate of wrong results in the corpus, per step.")] = Habits.slip,
    hasty_stop: Annotated[float, typer.Option(help="Rate of hasty stops after the first step.")] = Habits.hasty_stop,
    overthink: Annotated[float, typer.Option(help="Rate of lines that do not advance; above 0: lines.")] = 0.0,
    hint_rate: Annotated[float, typer.Option(min=0, max=1, help="Part of the prompts that show the solution.")] = 0.0,
) -> None:
    """Train the pocket reasoner and save model, tokenizer and provenance."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    arguments = TrainingArguments(seed, steps, batch_size, learning_rate, slip, hasty_stop, overthink, hint_rate)
    torch.manual_seed(seed)
    tokenizer = build_tokenizer(MAX_LENGTH)
    model = build_model(tokenizer).train()
    habits = Habits(slip, hasty_stop, overthink)
    corpus = batches(tokenizer, habits, batch_size, random.Random(seed), hint_rate)
    optimizer = torch.optim.AdamW(model.parameters(), lr=learning_rate, betas=ADAM_BETAS, weight_decay=WEIGHT_DECAY)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min((step + 1) / WARMUP_STEPS, (steps - step) / (steps - WARMUP_STEPS))
    )
    for step in range(1, steps + 1):
        input_ids, labels = next(corpus)
        # Padding is on the right and attention is causal, so no attention mask is needed.
        logits = model(input_ids).logits
        loss = cross_entropy(logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten(), ignore_index=IGNORED_LABEL)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), GRADIENT_CLIP)
        optimizer.step()
        schedule.step()
        if step % LOG_EVERY == 0:
            logger.info("step %d loss %.4f", step, loss.item())

    held_out = generate("val", EVALUATION_PROBLEMS, EVALUATION_SEED)
    longest = LONGEST_OVERTHINKING if overthink > 0 else MAX_RESPONSE_LENGTH
    sampled = evaluate(model, tokenizer, held_out, sample=True, seed=EVALUATION_SEED, longest=longest)
    greedy = evaluate(model, tokenizer, held_out, sample=False, seed=EVALUATION_SEED, longest=longest)
    logger.info("held-out accuracy: %.3f at temperature 1, %.3f greedy", sampled.accuracy, greedy.accuracy)
    model.save_pretrained(out)
    tokenizer.save_pretrained(out)
    provenance = {
        "command": "python -m verl_softthink.pocket.train",
        "arguments": asdict(arguments),
        "held_out_problems": EVALUATION_PROBLEMS,
        "held_out_at_temperature_1": asdict(sampled),
        "held_out_greedy": asdict(greedy),
        "parameters": model.num_parameters(),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "threads": torch.get_num_threads(),
    }
    (out / "provenance.json").write_text(json.dumps(provenance, indent=2) + "\n")


if __name__ == "__main__":
    typer.run(main)
