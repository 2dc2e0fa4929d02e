"""Digests of what results depend on: the content of files, and of all files of a model, whatever their dates."""

import hashlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from verl_softthink.errors import FileError, about_file
from verl_softthink.files.reading import regular

#: Marks a digest in what a folder of work remembers of its inputs.
SHA256 = "sha256:"
#: Files that are read side by side: one core hashes slower than a disk reads.
READERS = 8


def file_digest(path: Path) -> str:
    """SHA-256 of a file's content.

    Raises:
        FileError: it cannot be read.
    """
    with about_file(regular(path)), path.open("rb") as file:
        return SHA256 + hashlib.file_digest(file, "sha256").hexdigest()


def model_digest(model: Path | str) -> dict[str, str]:
    """Digest of every file of a model by its name: weights, configuration, tokenizer and chat template.

    Args:
        model: directory in Hugging Face's format, or a name of the hub, which is known by the revision that would be
            loaded.

    Raises:
        FileError: it is neither, or one of its files cannot be read.
    """
    folder = Path(model)
    if not folder.is_dir():
        return {"revision": _revision(str(model))}
    with about_file(folder):
        files = sorted(file for file in folder.iterdir() if file.is_file() and not file.name.startswith("."))
    with ThreadPoolExecutor(READERS) as pool:
        return dict(zip((file.name for file in files), pool.map(file_digest, files), strict=True))


def _revision(name: str) -> str:
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    kinds = (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError)
    with about_file(name, *kinds, advice="give a model directory, or the name of a model of the hub"):
        # .../snapshots/<commit>/config.json
        commit = Path(hf_hub_download(name, "config.json")).parent.name
    if not commit:
        raise FileError(name, "the hub's cache does not say its revision; give a model directory")
    return commit
