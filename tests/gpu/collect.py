"""Everything that ``run.sh`` left in its folder, as one JSON file."""

import json
import statistics
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

from verl_softthink.bench.report import hardware, versions
from verl_softthink.report.metrics_file import read_metrics

#: Seconds of a training step in verl's metrics.
STEP_SECONDS = "timing_s/step"
#: The first steps compile and capture.
WARM_UP_STEPS = 2


def collect(folder: Path) -> dict:
    """Read a folder of ``run.sh``; what was not run is absent."""
    logs = folder / "logs"
    result = {
        "hardware": hardware(),
        "versions": versions(),
        "steps": {path.stem: path.read_text().strip() for path in sorted(logs.glob("*.status"))},
        "tests": {path.stem: _counts(path) for path in sorted(logs.glob("*.xml"))},
        "benches": {path.stem: json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))},
    }
    result["benches"].pop("result", None)
    seconds = {arm: _step_seconds(folder / f"step-time-{arm}") for arm in ("soft_grpo", "grpo")}
    if all(seconds.values()):
        medians = {arm: statistics.median(values) for arm, values in seconds.items()}
        result["step_time"] = {"ratio": medians["soft_grpo"] / medians["grpo"], "seconds": seconds}
    return result


def _counts(path: Path) -> dict[str, int]:
    suite = next(ElementTree.parse(path).iter("testsuite"))
    return {name: int(suite.get(name)) for name in ("tests", "failures", "errors", "skipped")}


def _step_seconds(folder: Path) -> list[float]:
    if not folder.is_dir():
        return []
    return [data[STEP_SECONDS] for _, data in read_metrics(folder)[WARM_UP_STEPS:]]


if __name__ == "__main__":
    out = Path(sys.argv[1])
    (out / "result.json").write_text(json.dumps(collect(out), indent=2) + "\n")
