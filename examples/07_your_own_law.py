"""A law of your own in 30 lines: draw one token, feed it blended with the mean of all candidates, score the token.

python examples/07_your_own_law.py

A law gives four functions, all pure torch, and declares its parameters, which become keys under ``softthink.law``. The
two checks below are what every law has to pass: ``log_prob`` is the log-density of what ``sample`` draws, and its
expected gradient is that of the expected reward. To train with it, put the class into a package of yours with an entry
point, and install that in the environment of the run, where every process finds it:

    [project.entry-points."verl_softthink.laws"]
    blend = "my_package.blend:BlendLaw"

    pip install my_package
    python -m verl.trainer.main_ppo +softthink=soft_grpo softthink.law.name=blend +softthink.law.share=0.3 ...
"""

import torch
from torch import Tensor

from verl_softthink.laws import Action, Candidates, Law, LawParameters, Parameter


class BlendLaw(Law):
    """Weights (1 - a) one_hot(i) + a p with i drawn from p; a < 1/2 keeps the drawn token the heaviest."""

    name = "blend"
    parameters = (
        Parameter("share", "share a of the distribution in the blend", default=0.4, at_least=0, at_most=0.49),
    )

    def sample(self, candidates: Candidates, parameters: LawParameters, noise: Tensor) -> Action:
        drawn = (candidates.log_probs + noise).argmax(-1, keepdim=True)  # Gumbel-max: a draw from p
        share = parameters["share"][:, None]
        weights = (share * candidates.log_probs.exp()).scatter_add(-1, drawn, 1 - share)
        return Action(ids=candidates.ids, values=weights)

    def weights(self, action: Action, parameters: LawParameters) -> Tensor:
        return action.values

    def log_prob(self, action: Action, log_probs: Tensor, parameters: LawParameters) -> Tensor:
        return self.token_log_prob(action, action.values.argmax(-1), log_probs, parameters)

    def token_log_prob(self, action: Action, slot: Tensor, log_probs: Tensor, parameters: LawParameters) -> Tensor:
        return log_probs.gather(-1, slot[:, None])[:, 0]


def main() -> None:
    torch.manual_seed(0)
    rows, logits = 400_000, torch.tensor([0.9, 0.1, -0.7])
    law = BlendLaw()
    parameters = law.columns(rows)
    log_probs = logits.log_softmax(-1).expand(rows, -1)
    noise = -(-torch.rand(rows, 3).log()).log()
    action = law.sample(Candidates(ids=torch.arange(3).expand(rows, -1), log_probs=log_probs), parameters, noise)
    shown = law.shown_slot(action, parameters)

    frequency = torch.bincount(shown, minlength=3) / rows
    print("drawn   ", [round(x, 4) for x in frequency.tolist()])
    print("log_prob", [round(x, 4) for x in log_probs[0].exp().tolist()])
    assert torch.allclose(frequency, log_probs[0].exp(), atol=4e-3)

    # d/dlogit_0 E[reward], by the score function and in closed form: the reward is the drawn token's weight table.
    reward = torch.tensor([1.0, 0.3, -0.5])
    leaf = logits.expand(rows, -1).clone().requires_grad_()
    law.log_prob(action, leaf.log_softmax(-1), parameters).sum().backward()
    score = float((reward[shown] * leaf.grad[:, 0]).mean())
    p = logits.softmax(-1)
    exact = float(p[0] * (reward[0] - (p * reward).sum()))
    print(f"gradient  {score:.4f}, exact {exact:.4f}")
    assert abs(score - exact) < 5e-3


if __name__ == "__main__":
    main()
