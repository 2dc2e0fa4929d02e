"""Models and tokenizers of directories that may be damaged: loaded, or refused by their path.

transformers and tokenizers raise what their parsers happen to stumble over, down to a bare ``Exception``. Nothing but
the checkpoint goes into them here, so whatever they raise is about the checkpoint. Code of a checkpoint is not run,
unless that was asked for.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from verl_softthink.errors import FileError, about_file

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

ADVICE = "give a model directory in Hugging Face's format"
WEIGHTS = ("*.safetensors", "*.bin")


def load_config(model: Path | str, *, trust_remote_code: bool = False) -> "PreTrainedConfig":
    """The configuration of a model.

    Raises:
        FileError: there is none, or it is damaged.
    """
    from transformers import AutoConfig

    with _about(model, "configuration"):
        return AutoConfig.from_pretrained(model, trust_remote_code=trust_remote_code)


def load_tokenizer(model: Path | str, *, trust_remote_code: bool = False) -> "PreTrainedTokenizerBase":
    """The tokenizer of a model.

    Raises:
        FileError: there is none, or it is damaged.
    """
    from transformers import AutoTokenizer

    with _about(model, "tokenizer"):
        return AutoTokenizer.from_pretrained(model, trust_remote_code=trust_remote_code)


def load_model(model: Path | str, **arguments: object) -> "PreTrainedModel":
    """The language model, for evaluation.

    Args:
        arguments: of ``from_pretrained``.

    Raises:
        FileError: there is none, or it is damaged.
    """
    from transformers import AutoModelForCausalLM

    with _about(model, "model"):
        return AutoModelForCausalLM.from_pretrained(model, trust_remote_code=False, **arguments).eval()


def check_model(model: Path | str) -> None:
    """Read what an engine would, but for the numbers of the weights: an engine that fails at its start says little.

    Raises:
        FileError: naming the file that is missing or damaged.
    """
    from safetensors import SafetensorError, safe_open

    load_config(model)
    load_tokenizer(model)
    folder = Path(model)
    if folder.is_dir():
        for file in weight_files(folder):
            if file.suffix == ".safetensors":
                with about_file(file, SafetensorError, advice=ADVICE), safe_open(file, framework="pt"):
                    pass


def weight_files(folder: Path) -> list[Path]:
    """The files of a directory that hold weights.

    Raises:
        FileError: there are none.
    """
    for pattern in WEIGHTS:
        if files := sorted(folder.glob(pattern)):
            return files
    raise FileError(folder, f"there is no {' or '.join(WEIGHTS)}; {ADVICE}")


def chat_ids(tokenizer: "PreTrainedTokenizerBase", messages: Sequence[dict[str, str]]) -> list[int]:
    """Token ids of a conversation, with the beginning of the model's turn.

    Raises:
        FileError: the tokenizer has no chat template, or one that is damaged.
    """
    with _about(tokenizer.name_or_path, "chat template"):
        return list(
            tokenizer.apply_chat_template(list(messages), add_generation_prompt=True, return_dict=True)["input_ids"]
        )


def chat_text(tokenizer: "PreTrainedTokenizerBase", messages: Sequence[dict[str, str]], **arguments: object) -> str:
    """The same as a text.

    Args:
        arguments: further arguments of the template, such as ``enable_thinking``.

    Raises:
        FileError: as ``chat_ids``.
    """
    with _about(tokenizer.name_or_path, "chat template"):
        return tokenizer.apply_chat_template(list(messages), tokenize=False, add_generation_prompt=True, **arguments)


@contextmanager
def _about(model: Path | str, part: str) -> Iterator[None]:
    with about_file(model, Exception, advice=f"no {part} can be read from it; {ADVICE}"):
        yield
