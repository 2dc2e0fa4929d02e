"""Random responses with traces: every kind of position, in every order."""

from dataclasses import dataclass

import torch
from verl.utils import tensordict_utils as tu

from verl_softthink.laws import NO_CANDIDATE, Candidates, get_law
from verl_softthink.likelihood.fields import DRAWN, IDS, SETTINGS, SOFT, VALUES

from .models import VOCABULARY

SLOTS = 5
#: Kinds of position: the mixture was fed, the draw collapsed to a token, an ordinary token, a forced token.
SOFT_POSITION, COLLAPSED, TOKEN, FORCED = range(4)


@dataclass
class Sample:
    """One prompt and response; per response position its kind, and for the drawn ones the action."""

    prompt: list[int]
    response: list[int]
    kinds: list[int]
    ids: torch.Tensor  # [T, K] int32
    values: torch.Tensor  # [T, K] float32

    @property
    def soft(self) -> torch.Tensor:
        return torch.tensor([kind == SOFT_POSITION for kind in self.kinds])

    @property
    def drawn(self) -> torch.Tensor:
        return torch.tensor([kind in (SOFT_POSITION, COLLAPSED) for kind in self.kinds])


#: Where the law has it: warm enough for mixtures.
TAU = 0.6


def settings(law: str, **overrides) -> dict:
    """The record that the trainer puts beside the traces; overrides of its keys or of the law's parameters."""
    defaults = {parameter.name: parameter.default for parameter in get_law(law).parameters}
    own = defaults | {key: value for key, value in {"tau": TAU, **overrides}.items() if key in defaults}
    overrides = {key: value for key, value in overrides.items() if key not in defaults}
    return {
        "law": law,
        "parameters": own,
        "normalise_over": get_law(law).normalisers[0],
        "temperature": 0.8,
        "detach_inputs": False,
        **overrides,
    }


def random_sample(generator: torch.Generator, prompt: int, kinds: list[int], law: str, *, values: dict) -> Sample:
    """A sample whose drawn positions hold 1 to ``SLOTS`` candidates, drawn by the law from random logits."""

    def integers(low, high, size):
        return torch.randint(low, high, (size,), generator=generator)

    count = len(kinds)
    ids = torch.full((count, SLOTS), NO_CANDIDATE)
    for row in range(count):
        width = int(integers(1, SLOTS + 1, 1)) if law != "discrete" else 1
        ids[row, :width] = torch.randperm(VOCABULARY, generator=generator)[:width]
    log_probs = torch.randn(count, SLOTS, generator=generator).masked_fill(ids == NO_CANDIDATE, -torch.inf)
    candidates = Candidates(ids=ids, log_probs=log_probs.log_softmax(-1))
    noise = -torch.log(-torch.log(torch.rand(count, SLOTS, generator=generator)))
    parameters = get_law(law).columns(count, **values["parameters"])
    action = get_law(law).sample(candidates, parameters, noise)
    shown = ids.gather(-1, get_law(law).shown_slot(action, parameters)[:, None])[:, 0]
    drawn = torch.tensor([kind in (SOFT_POSITION, COLLAPSED) for kind in kinds])
    response = torch.where(drawn, shown, integers(0, VOCABULARY, count))
    return Sample(
        prompt=integers(0, VOCABULARY, prompt).tolist(),
        response=response.tolist(),
        kinds=kinds,
        ids=torch.where(drawn[:, None], action.ids, NO_CANDIDATE).int(),
        values=torch.where(drawn[:, None], action.values, 0.0),
    )


def random_samples(law: str, values: dict, seed: int = 0) -> list[Sample]:
    """Four samples of different lengths: mixed, without any soft position, soft to the end, and collapsed at once."""
    generator = torch.Generator().manual_seed(seed)
    shapes = [
        (4, [SOFT_POSITION] * 5 + [COLLAPSED] + [FORCED] * 2 + [TOKEN] * 4),
        (7, [TOKEN] * 6),
        (2, [SOFT_POSITION] * 9),
        (5, [COLLAPSED, TOKEN, SOFT_POSITION, SOFT_POSITION, FORCED, TOKEN, TOKEN, SOFT_POSITION]),
    ]
    return [random_sample(generator, prompt, kinds, law, values=values) for prompt, kinds in shapes]


def jagged(rows: list[torch.Tensor]) -> torch.Tensor:
    """One jagged nested tensor."""
    return torch.nested.as_nested_tensor(rows, layout=torch.jagged)


def make_batch(samples: list[Sample], values: dict | None, *, packed: bool, micro_batch: int = 2, **extra):
    """The TensorDict that verl's trainer hands to an engine; without ``values`` there is no trace."""
    responses = [torch.tensor(s.response) for s in samples]
    sequences = [torch.tensor(s.prompt + s.response) for s in samples]
    masks = [torch.ones(len(s.response), dtype=torch.int64) for s in samples]
    generator = torch.Generator().manual_seed(11)
    tensors = {
        "input_ids": jagged(sequences),
        "position_ids": jagged([torch.arange(len(s)) for s in sequences]),
        "prompts": jagged([torch.tensor(s.prompt, dtype=torch.int64) for s in samples]),
        "responses": jagged(responses),
        "response_mask": jagged(masks),
        "loss_mask": jagged(masks),
        "advantages": jagged([torch.randn(len(r), generator=generator) for r in responses]),
    }
    plain = {
        "temperature": 0.8,
        "use_remove_padding": packed,
        "use_dynamic_bsz": False,
        "micro_batch_size_per_gpu": micro_batch,
        "global_batch_size": len(samples),
        "calculate_entropy": False,
    }
    if values is not None:
        tensors |= {
            SOFT: jagged([s.soft for s in samples]),
            DRAWN: jagged([s.drawn for s in samples]),
            IDS: jagged([s.ids for s in samples]),
            VALUES: jagged([s.values for s in samples]),
        }
        plain[SETTINGS] = values
    return tu.get_tensordict(tensors, plain | extra)
