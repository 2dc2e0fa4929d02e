"""The character tokenizer of the pocket reasoner and its chat template.

One printable ASCII character is one token; ``<think>`` and ``</think>`` are one token each.
"""

import string
from collections.abc import Iterable

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from verl_softthink.pocket.reward import THINK_END

PAD, EOS, UNKNOWN, USER, ASSISTANT = "<pad>", "<eos>", "<unk>", "<user>", "<assistant>"
THINK_START = "<think>"
SPECIAL_TOKENS = (PAD, EOS, UNKNOWN, USER, ASSISTANT)
# Not "special": verl decodes responses with skip_special_tokens=True, and the reward needs to see the marker.
THINK_MARKERS = (THINK_START, THINK_END)
CHARACTERS = tuple(string.digits + string.ascii_letters + string.punctuation + " \n")

# The generation prompt opens the thinking phase, so the first generated token is a thought.
CHAT_TEMPLATE = (
    "{%- for message in messages -%}"
    "{%- if message['role'] == 'user' -%}" + USER + "{{- message['content'] -}}"
    "{%- elif message['role'] == 'assistant' -%}" + ASSISTANT + "{{- message['content'] -}}" + EOS + "{%- else -%}"
    "{{- raise_exception('role ' ~ message['role'] ~ ' is unknown to the pocket reasoner: use user or assistant') -}}"
    "{%- endif -%}"
    "{%- endfor -%}"
    "{%- if add_generation_prompt -%}" + ASSISTANT + THINK_START + "{%- endif -%}"
)


def build_tokenizer(max_length: int) -> PreTrainedTokenizerFast:
    """The tokenizer; nothing is learnt, so every call gives the same one.

    Args:
        max_length: longest sequence of the model, in tokens.
    """
    backend = _backend(CHARACTERS)
    backend.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), behavior="isolated")
    backend.decoder = decoders.Fuse()
    return _finished(backend, max_length)


def build_word_tokenizer(words: Iterable[str], max_length: int) -> PreTrainedTokenizerFast:
    """A tokenizer of whole words, which blanks separate; markers and chat template are the same.

    Args:
        words: the vocabulary beside markers and special tokens; their ids follow those, in this order.
        max_length: longest sequence of the model, in tokens.
    """
    backend = _backend(words)
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return _finished(backend, max_length)


def _backend(words: Iterable[str]) -> Tokenizer:
    vocabulary = {token: index for index, token in enumerate((*SPECIAL_TOKENS, *THINK_MARKERS, *words))}
    return Tokenizer(models.WordLevel(vocabulary, unk_token=UNKNOWN))


def _finished(backend: Tokenizer, max_length: int) -> PreTrainedTokenizerFast:
    backend.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in SPECIAL_TOKENS])
    backend.add_tokens([AddedToken(token, special=False, normalized=False) for token in THINK_MARKERS])
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        pad_token=PAD,
        eos_token=EOS,
        unk_token=UNKNOWN,
        extra_special_tokens=[USER, ASSISTANT],
        chat_template=CHAT_TEMPLATE,
        model_max_length=max_length,
        padding_side="left",
        clean_up_tokenization_spaces=False,
    )
