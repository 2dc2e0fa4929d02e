"""Log-probs of given responses under a checkpoint, by transformers, one sequence at a time."""

import torch
from torch import Tensor
from transformers import AutoModelForCausalLM, PreTrainedModel


def load_model(path: str) -> PreTrainedModel:
    """The checkpoint in its own precision (float32 on a CPU), on the accelerator if there is one."""
    accelerator = torch.accelerator.is_available()
    model = AutoModelForCausalLM.from_pretrained(path, dtype="auto" if accelerator else torch.float32).eval()
    return model.to(torch.accelerator.current_accelerator()) if accelerator else model


@torch.no_grad()
def response_log_probs(model: PreTrainedModel, prompt: list[int], response: list[int], temperature: float) -> Tensor:
    """[T] float32 log-probs of the response's tokens after the prompt, at a temperature; on the CPU."""
    ids = torch.tensor([prompt + response], device=model.device)
    # The last position predicts what follows the response.
    logits = model(ids, logits_to_keep=len(response) + 1).logits[0, :-1].float() / temperature
    targets = ids[0, len(prompt) :, None]
    return logits.log_softmax(-1).gather(-1, targets)[:, 0].cpu()
