"""A dumped response under its checkpoint again, from the dump alone: mixtures written out, one pass per prefix."""

import torch
from torch import Tensor

from verl_softthink.config.settings import LawSettings
from verl_softthink.laws import LAWS, Action, LawParameters, candidate_log_probs
from verl_softthink.methods.repro.fields import PIECE
from verl_softthink.methods.repro.rewards import process_rewards


def action_and_parameters(trace, law: dict) -> tuple[Action, LawParameters]:
    return Action(ids=trace.ids.long(), values=trace.values), LawSettings(**law).columns(len(trace))


@torch.no_grad()
def input_embeddings(model, response, law: dict) -> Tensor:
    """[P + T, hidden] what the model was fed: the prompt, and the response with its mixtures."""
    table = model.get_input_embeddings().weight
    action, parameters = action_and_parameters(response.trace, law)
    weights = LAWS[law["name"]].weights(action, parameters)
    mixed = LAWS[law["name"]].embed(weights, table[action.ids.clamp(min=0)])
    inputs = torch.where(response.trace.soft[:, None], mixed, table[response.response_ids.long()])
    return torch.cat((table[response.prompt_ids.long()], inputs))


@torch.no_grad()
def logits_and_densities(model, response, law: dict) -> tuple[Tensor, Tensor]:
    """[T, V] logits before each response token, and [T] the law's log-densities."""
    fed = input_embeddings(model, response, law)
    logits = model(inputs_embeds=fed[None]).logits[0, len(response.prompt_ids) - 1 : -1]
    action, parameters = action_and_parameters(response.trace, law)
    log_probs = candidate_log_probs(logits, action.ids, normalise_over="candidates")
    return logits, LAWS[law["name"]].log_prob(action, log_probs, parameters)


@torch.no_grad()
def rewards_of_tokens(model, response, law: dict, lead_in: list[int], answer: list[int], settings) -> Tensor:
    """[T] RePro's reward of each token's piece (0: none); pieces are those of the dump."""
    fed, pieces = input_embeddings(model, response, law), response.extra[PIECE].long()
    count = int(pieces.max()) + 1
    cuts = [int((pieces == piece).nonzero()[0]) for piece in range(count)]
    cuts.append(int((pieces >= 0).nonzero()[-1]) + 1)
    asked = model.get_input_embeddings().weight[torch.tensor(lead_in + answer)]
    likelihoods = []
    for cut in cuts:
        inputs = torch.cat((fed[: len(response.prompt_ids) + cut], asked))
        scores = model(inputs_embeds=inputs[None]).logits[0, -len(answer) - 1 : -1].log_softmax(-1)
        likelihoods.append(scores.gather(-1, torch.tensor(answer)[:, None]).mean())
    (rewards,) = process_rewards([torch.tensor(cuts)], [torch.stack(likelihoods)], settings).rewards
    return rewards[pieces.clamp(min=0)].where(pieces >= 0, 0.0)
