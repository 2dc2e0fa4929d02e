"""A tree by hand (AttnRL): which steps later steps look back to, where the response branches, and what nodes earn.

python examples/05_tree_by_hand.py
"""

import math

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from verl_softthink.methods.attnrl.influence import ForwardContextInfluence, without_answer
from verl_softthink.methods.attnrl.plan import AttentionFilter, Sampled, ScoredResponse, grow, plan_branches
from verl_softthink.methods.attnrl.settings import AttnrlSettings
from verl_softthink.methods.attnrl.steps import SteppedSequence, segment
from verl_softthink.methods.attnrl.tree import Continuation, InitialResponse, leaf_rows, nodes, root_value
from verl_softthink.pocket import OVERTHINKING, checkpoint_path
from verl_softthink.pocket.reward import compute_score

PROBLEM, ANSWER = "7+8*3-9+4*2", "0"
RESPONSE = "7+8=5\n?7+8=5\n5*3=5\n5-9=6\n=6\n6+4=0\nhm\n0*2=0\n</think>0<eos>"

model = AutoModelForCausalLM.from_pretrained(checkpoint_path(OVERTHINKING), dtype=torch.float32).eval()
tokenizer = AutoTokenizer.from_pretrained(checkpoint_path(OVERTHINKING))
prompt = tokenizer.apply_chat_template(
    [{"role": "user", "content": PROBLEM}], add_generation_prompt=True, return_tensors="pt", return_dict=True
)["input_ids"][0]
response = torch.tensor(tokenizer.encode(RESPONSE, add_special_tokens=False))


def judge(ids: torch.Tensor) -> float:
    """1 if the whole response, prefix and continuation together, ends with the right answer."""
    return compute_score("", tokenizer.decode(ids, skip_special_tokens=True), ANSWER)


# 1. Steps: a line each. Range 0 is the prompt, the steps follow.
steps = segment([tokenizer.decode([token]) for token in response.tolist()])
sequence = SteppedSequence(0, 0, (len(prompt), *steps.lengths))

# 2. Forward context influence: how much of the attention of steps at least four further on goes to each step.
with ForwardContextInfluence(model, [sequence]) as influence, torch.no_grad():
    model(torch.cat((prompt, response))[None])
last = len(steps)  # the step with the marker: behind it no branch starts
values = without_answer(influence.values[0], end_of_thinking=last)[1:]
for start, length, value in zip(steps.starts, steps.lengths, values.tolist(), strict=True):
    text = tokenizer.decode(response[start : start + length])
    print(f"step at token {start:2}   influence {value:.3f}   {text!r}")

# 3. The branches: two points on the response, two continuations from each; every one is sampled from the model itself.
#    (With 512 tokens between points, as published, so short a response would have only the earliest ones.)
settings = AttnrlSettings(points=2, continuations=2, quantile=0.6, spacing=1)
scored = [ScoredResponse(steps, values, correct=bool(judge(response)))]
# A prompt whose responses are all right is branched only if it is looked back on more than such prompts so far.
seen = AttentionFilter(count=1, mean=0.0)
branches = plan_branches(scored, settings, seen, torch.Generator().manual_seed(0))
torch.manual_seed(3)
sampled = []
for branch in branches:
    prefix = torch.cat((prompt, response[: branch.cut]))
    with torch.no_grad():
        output = model.generate(prefix[None], max_new_tokens=96, do_sample=True, temperature=1.0, top_k=0)[0]
    continuation = output[len(prefix) :]
    value = judge(torch.cat((response[: branch.cut], continuation)))
    sampled.append(Sampled(len(continuation), value))
    print(f"cut at {branch.cut:2}, reward {value:.0f}: {tokenizer.decode(continuation)!r}")

# 4. Values and advantages of the nodes; training repeats a shared prefix in the row of every leaf below it.
tree = grow(scored, branches, sampled)
print(f"\nvalue of the prompt: {root_value(tree):.3f}")
for node in nodes(tree):
    kind = "response    " if node.continuation is None else f"continuation {node.continuation}"
    place = f"tokens {node.start:2} to {node.end:2}"
    print(f"{kind:14} {place}   leaves {node.leaves}   value {node.value:.3f}   advantage {node.advantage:+.4f}")
print(f"rows to train: {[len(row.advantages) for row in leaf_rows(tree)]} tokens")

# 5. The worked example: a right response cut at 3 into {right, wrong} and at 6 into {right, right}; another one, wrong.
worked = [
    InitialResponse(
        9, 1.0, (Continuation(3, 4, 1.0), Continuation(3, 5, 0.0), Continuation(6, 2, 1.0), Continuation(6, 6, 1.0))
    ),
    InitialResponse(7, 0.0),
]
found = [round(node.advantage, 4) for node in nodes(worked)]
print(f"\nworked example: value of the prompt {root_value(worked):.4f}, advantages {found}")
# The trunk's first node: 5 leaves, 4 of them right, and the prompt is its parent.
assert found[0] == round(2 * (4 / 5 - 4 / 6) / math.sqrt(5), 4)
assert sorted(found) == [-1.4667, 0.1193, 0.3079, 0.3333, 0.3333, 0.3333, 0.5333]
assert len(branches) == 4 and values.max() > 0
