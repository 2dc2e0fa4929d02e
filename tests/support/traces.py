"""A real byte-level tokenizer with awkward tokens, and traces made by the law itself."""

import pytest
import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from support.awkward import ATTRIBUTE, MARKER, NOISE_SCALE, SCRIPT, TAU
from verl_softthink.laws import LAWS, Candidates
from verl_softthink.trace import SoftTrace


@pytest.fixture(scope="session")
def tokenizer() -> PreTrainedTokenizerFast:
    """One token per byte, and three longer ones."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    backend = Tokenizer(models.BPE({character: index for index, character in enumerate(alphabet)}, []))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    backend.add_tokens([AddedToken(text, normalized=False) for text in (SCRIPT, ATTRIBUTE, MARKER)])
    return PreTrainedTokenizerFast(tokenizer_object=backend)


@pytest.fixture(scope="session")
def soft_trace(tokenizer):
    """A function: response ids, position of the marker, whether it was forced -> a trace of gumbel draws, K = 4."""

    def make(token_ids: list[int], end: int, forced: bool = False) -> SoftTrace:
        length, width = len(token_ids), 4
        generator = torch.Generator().manual_seed(length)
        position = torch.arange(length)
        drawn = (position < end) if forced else (position <= end)
        ids = torch.randint(0, len(tokenizer), (length, width), generator=generator)
        ids[1::2, 2:] = -1  # every other position has two candidates only
        ids[~drawn] = -1
        logits = torch.randn(length, width, generator=generator).masked_fill(ids < 0, -torch.inf)
        candidates = Candidates(ids=ids, log_probs=logits.log_softmax(-1).nan_to_num(-torch.inf))
        noise = -(-torch.rand(length, width, generator=generator).log()).log()
        law = LAWS["gumbel"]
        parameters = law.columns(length, tau=TAU, noise_scale=NOISE_SCALE)
        action = law.sample(candidates, parameters, noise)
        log_prob = law.log_prob(action, candidates.log_probs, parameters)
        entropy = torch.rand(length, generator=generator)
        entropy[-1] = torch.nan
        return SoftTrace(
            soft=drawn & (position != end),
            drawn=drawn,
            forced=(position == end) & forced,
            discrete=torch.zeros(length, dtype=torch.bool),
            ids=ids.int(),
            values=action.values,
            log_prob=torch.where(drawn, log_prob, 0.0),
            entropy=entropy,
            end_reason="budget" if forced else "marker",
        )

    return make
