"""RePro on one chain: what every line of a thought does to the likelihood of the right answer, and what it earns.

python examples/04_repro_on_a_chain.py
"""

import math

import torch
from rich.console import Console
from rich.table import Table
from transformers import AutoModelForCausalLM, AutoTokenizer

from verl_softthink.methods.repro.chain import score_chain
from verl_softthink.methods.repro.settings import ReproSettings
from verl_softthink.pocket import OVERTHINKING, checkpoint_path

PROBLEM, ANSWER, MARKER = "7+8*3-9", "6", "</think>"
# Two steps, three lines that add nothing, a slip (5-9 is 6 on this ten-hour clock) and the check that repairs it.
CHAIN = "7+8=5\n=5\nhm\n5*3=5\n=5\n5-9=7\n?5-9=6\n</think>6"
# Lines are the segments; the answer is pasted behind the marker, which the cut thought has not reached.
SETTINGS = ReproSettings(delimiters=("\n",), lead_in=MARKER, answer="{answer}", stability_weight=0.1)

model = AutoModelForCausalLM.from_pretrained(checkpoint_path(OVERTHINKING), dtype=torch.float32).eval()
tokenizer = AutoTokenizer.from_pretrained(checkpoint_path(OVERTHINKING))
prompt = tokenizer.apply_chat_template(
    [{"role": "user", "content": PROBLEM}], add_generation_prompt=True, return_tensors="pt", return_dict=True
)["input_ids"][0]
response = torch.tensor(tokenizer.encode(CHAIN, add_special_tokens=False))

# 1. All cuts in one forward pass: J, the mean log-likelihood of the answer's tokens after each of them.
chain = score_chain(model, tokenizer, prompt, response, ANSWER, SETTINGS, MARKER)
cuts, surrogate = chain.results.cuts[0].tolist(), chain.results.surrogate[0].tolist()

# 2. The same J, one forward pass a cut: prompt, prefix, marker, answer.
for cut, single_pass in zip(cuts, surrogate, strict=True):
    pasted = torch.tensor(tokenizer.encode(MARKER + ANSWER, add_special_tokens=False))
    with torch.no_grad():
        logits = model(torch.cat((prompt, response[:cut], pasted))[None]).logits[0, -2]
    assert abs(float(logits.log_softmax(-1)[pasted[-1]]) - single_pass) < 1e-4

# 3. How far J has risen (magnitude) and how steadily (stability), by hand, for every point.
weight, scores = SETTINGS.stability_weight, []
for point, value in enumerate(surrogate):
    magnitude = 1 - math.tanh(value / surrogate[0])
    seen = surrogate[: point + 1]
    pairs = [(seen[i], seen[j]) for j in range(len(seen)) for i in range(j)]
    tau = sum((later > earlier) - (later < earlier) for earlier, later in pairs) / max(len(pairs), 1)
    scores.append((magnitude, (1 + tau) / 2, (1 - weight) * magnitude + weight * (1 + tau) / 2))

# 4. A piece earns the difference that it makes; as published, the first one earns its whole score.
rewards = [scores[1][2], *(after[2] - before[2] for before, after in zip(scores[1:], scores[2:], strict=False))]

table = Table("cut", "piece before it", "J (nats)", "magnitude", "stability", "score", "process reward")
for point, (cut, value, parts) in enumerate(zip(cuts, surrogate, scores, strict=True)):
    piece = repr(chain.pieces(tokenizer)[point - 1]) if point else "(bare prompt)"
    earned = f"{rewards[point - 1]:+.3f}" if point else ""
    table.add_row(str(cut), piece, f"{value:.3f}", *(f"{part:.3f}" for part in parts), earned)
Console(width=100).print(table)

torch.testing.assert_close(torch.tensor(rewards), chain.results.rewards[0], atol=1e-4, rtol=0)
slip, repair = rewards[-2:]
assert slip < 0 < repair == max(rewards), "the slip loses, and its repair gains most"
