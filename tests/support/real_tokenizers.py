"""Tokenizers of published models, from files that installed packages carry."""

import base64
import functools
import importlib.util
import json
from collections.abc import Callable
from pathlib import Path

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
from transformers import AutoTokenizer, PreTrainedTokenizerFast
from transformers.convert_slow_tokenizer import SentencePieceExtractor, bytes_to_unicode

from verl_softthink.pocket import checkpoint_path

#: Tokens of a byte-level vocabulary that are kept; its merges are by rank, so that these are the same with fewer.
KEPT = 40_000


def mistral_file(name: str) -> Path:
    """A file of ``mistral_common``, which vLLM requires."""
    return Path(importlib.util.find_spec("mistral_common").origin).parent / "data" / name


def from_ranks(ranks: list[bytes], pattern: str) -> PreTrainedTokenizerFast:
    """A byte-level tokenizer from tiktoken's ranks, as transformers converts them."""
    letters = bytes_to_unicode()
    known = {token: rank for rank, token in enumerate(ranks)}

    def piece(token: bytes) -> str:
        return "".join(letters[byte] for byte in token)

    merges = []
    for token in ranks:
        halves = [(token[:at], token[at:]) for at in range(1, len(token))]
        halves = [(left, right) for left, right in halves if left in known and right in known]
        merges += sorted(halves, key=lambda pair: (known[pair[0]], known[pair[1]]))
    vocabulary = {piece(token): rank for token, rank in known.items()}
    backend = Tokenizer(
        models.BPE(vocabulary, [(piece(left), piece(right)) for left, right in merges], ignore_merges=True)
    )
    backend.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(pattern), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    backend.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(tokenizer_object=backend)


def tekken() -> PreTrainedTokenizerFast:
    """Mistral NeMo's byte-level tokenizer, with a split like Qwen's and Llama 3's: ``>\\n\\n`` is one token."""
    file = json.loads(mistral_file("tekken_240911.json").read_text(encoding="utf-8"))
    ranks = [base64.b64decode(entry["token_bytes"]) for entry in file["vocab"][:KEPT]]
    return from_ranks(ranks, file["config"]["pattern"])


def tekken_with_added_marker() -> PreTrainedTokenizerFast:
    """The same with ``</think>`` as an added token, as in Qwen3."""
    tokenizer = tekken()
    tokenizer.add_tokens(["</think>"])
    return tokenizer


def sentencepiece() -> PreTrainedTokenizerFast:
    """Mistral 7B's SentencePiece tokenizer with byte fallback, converted as Llama's are."""
    extracted = SentencePieceExtractor(str(mistral_file("mistral_instruct_tokenizer_240323.model.v3"))).extract(
        models.BPE
    )
    backend = Tokenizer(
        models.BPE(extracted["vocab"], extracted["merges"], unk_token="<unk>", fuse_unk=True, byte_fallback=True)
    )
    backend.pre_tokenizer = pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="first", split=False)
    backend.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    fast = PreTrainedTokenizerFast(tokenizer_object=backend, unk_token="<unk>")
    fast.add_tokens(extracted["additional_special_tokens"])
    return fast


MAKERS: dict[str, Callable[[], PreTrainedTokenizerFast]] = {
    "tekken": tekken,
    "tekken, </think> added": tekken_with_added_marker,
    "sentencepiece": sentencepiece,
    "pocket": lambda: AutoTokenizer.from_pretrained(checkpoint_path()),
}


@functools.cache
def real_tokenizer(name: str) -> PreTrainedTokenizerFast:
    """One of ``MAKERS``, made once a process."""
    return MAKERS[name]()
