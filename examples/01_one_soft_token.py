"""One soft token by hand: logits, candidates, a Gumbel draw, the mixture that is fed, and its log-density.

python examples/01_one_soft_token.py
"""

import torch

from verl_softthink.laws import FilterParameters, get_law, select_candidates

torch.manual_seed(0)
vocabulary = ["seven", "eight", "six", "7", "the", "dog"]
embeddings = torch.randn(len(vocabulary), 4)
logits = torch.tensor([[2.0, 1.6, 0.9, 0.2, -2.0, -5.0]])

# 1. Which tokens may take part: the top 4 of at least 95 % of the mass, renormalised. They stay frozen from here on.
filtered = FilterParameters.uniform(1, top_k=4, top_p=0.95, max_topk=4)
candidates = select_candidates(logits, filtered, width=4, fetch=4)
print(
    "candidates ",
    {
        vocabulary[i]: round(p, 3)
        for i, p in zip(candidates.ids[0], candidates.log_probs[0].exp().tolist(), strict=True)
    },
)

# 2. The draw: scores g' = log-probability + Gumbel noise, weights softmax(g' / tau).
law = get_law("gumbel")
parameters = law.columns(1, tau=0.5, noise_scale=1.0)
noise = -(-torch.rand(1, 4).log()).log()
action = law.sample(candidates, parameters, noise)
weights = law.weights(action, parameters)
print("scores     ", [round(g, 3) for g in action.values[0].tolist()])
print("mixture    ", {vocabulary[i]: round(w, 3) for i, w in zip(candidates.ids[0], weights[0].tolist(), strict=True)})
print("effective  ", round(float(1 / weights.square().sum()), 3), "tokens")
print("shown token", repr(vocabulary[candidates.ids[0, law.shown_slot(action, parameters)[0]]]))

# 3. What the model is fed at the next step, and what training scores.
fed = law.embed(weights, embeddings[candidates.ids])
print("fed        ", [round(x, 3) for x in fed[0].tolist()])
print("log-density", round(float(law.log_prob(action, candidates.log_probs, parameters)), 3), "nats")

# 4. The same action under a policy that prefers its heaviest candidate more: the ratio of PPO.
raised = candidates.log_probs.clone()
raised[0, law.shown_slot(action, parameters)] += 0.3
later = law.log_prob(action, raised.log_softmax(-1), parameters)
ratio = (later - law.log_prob(action, candidates.log_probs, parameters)).exp()
print("ratio      ", round(float(ratio), 3))
assert torch.isclose(weights.sum(), torch.tensor(1.0)) and ratio > 1
