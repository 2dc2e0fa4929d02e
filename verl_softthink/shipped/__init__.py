"""The run scripts, examples and documents that travel with the package, and their copy into a folder of the user's.

``recipes`` and ``examples`` beside this file are links to the folders of the checkout; a wheel holds their files.
"""

import shutil
from pathlib import Path

#: The folders that are copied, side by side: scripts find one another by paths relative to themselves.
FOLDERS = ("recipes", "examples")
_HERE = Path(__file__).parent


def copy_scripts(destination: Path) -> list[Path]:
    """Copy ``recipes/`` and ``examples/`` into ``destination``, which is made when it is missing.

    Returns:
        The files written.

    Raises:
        FileExistsError: when one of the two stands there already; nothing is written then.
        ValueError: when the folder cannot be written.
    """
    targets = [destination / name for name in FOLDERS]
    for target in targets:
        if target.exists():
            raise FileExistsError(f"{target} exists and is not overwritten: choose another directory, or move it away")
    try:
        for target in targets:
            shutil.copytree(_HERE / target.name, target, ignore=shutil.ignore_patterns("__pycache__"))
    except OSError as error:
        raise ValueError(f"{destination} cannot be written ({error.strerror}): choose another directory") from error
    return sorted(path for target in targets for path in target.rglob("*") if path.is_file())
