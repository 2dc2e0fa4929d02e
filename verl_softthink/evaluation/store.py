"""The samples of an evaluation in its folder of work, so that one that was stopped continues where it was.

DIR/samples/MODE/00000.json  the samples of one chunk of problems, written whole or not at all
"""

from pathlib import Path

from verl_softthink.evaluation.samples import Sample
from verl_softthink.files.reading import checked, read_json
from verl_softthink.files.work_folder import WorkFolder
from verl_softthink.files.writing import write_json


class SampleStore:
    """Samples of one evaluation, in chunks.

    Args:
        folder: which holds samples of these inputs alone, and is this process's.
    """

    def __init__(self, folder: WorkFolder):
        self._directory = folder.path

    def has(self, mode: str, chunk: int) -> bool:
        """Whether a chunk is complete."""
        return self.path(mode, chunk).exists()

    def write(self, mode: str, chunk: int, samples: list[Sample]) -> None:
        """Store a whole chunk.

        Raises:
            FileError: it cannot be written.
        """
        write_json([sample.as_dict() for sample in samples], self.path(mode, chunk))

    def read(self, mode: str, chunk: int) -> list[Sample]:
        """A stored chunk.

        Raises:
            FileError: it is damaged.
        """
        path = self.path(mode, chunk)
        advice = "remove the file, and its samples are drawn again"
        return checked(list[Sample], read_json(path, advice), path, f"no list of samples; {advice}")

    def path(self, mode: str, chunk: int) -> Path:
        """The file of a chunk."""
        return self._directory / "samples" / mode / f"{chunk:05d}.json"
