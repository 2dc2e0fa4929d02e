"""Bands over seeds, TensorBoard events, pass@k curves, and the command that draws them."""

import json
import logging

import matplotlib.image
import pytest
from typer.testing import CliRunner

from verl_softthink.cli import app
from verl_softthink.report.curve import plot_curve
from verl_softthink.report.pass_at_k import plot_pass_at_k, read_evaluation
from verl_softthink.report.seeds import band, labelled, read_run

ACCURACY = "val-core/toy/acc/mean@1"
BLUE, ORANGE = (0x00, 0x72, 0xB2), (0xD5, 0x5E, 0x00)
MODE = {"k": [1, 2, 4], "mean": [0.5, 0.7, 0.8], "low": [0.4, 0.6, 0.8], "high": [0.6, 0.75, 0.9]}


def write_run(folder, offset: float, last: int = 4):
    folder.mkdir()
    rows = [{"step": step, "data": {"critic/score/mean": offset + 0.1 * step}} for step in range(1, last + 1)]
    rows[0]["data"][ACCURACY] = offset
    rows[-1]["data"][ACCURACY] = offset + 0.4
    (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def pixels(picture, colour: tuple[int, int, int], alpha: float = 1.0) -> int:
    """Pixels of a colour, drawn over white."""
    shade = [255 - alpha * (255 - channel) for channel in colour]
    return int((abs(picture[..., :3] * 255 - shade).max(-1) < 2).sum())


def test_band_by_hand(caplog):
    with caplog.at_level(logging.WARNING):
        result = band([([1, 2, 3], [0.0, 1.0, 2.0]), ([2, 3, 4], [3.0, 2.0, 9.0])], "a")
    assert (result.steps, result.mean, result.low, result.high) == ([2, 3], [2.0, 2.0], [1.0, 2.0], [3.0, 2.0])
    assert result.seeds == 2 and "a: 2 of 3 steps" in caplog.text
    with pytest.raises(ValueError, match="2 runs of 'a' have no step in common"):
        band([([1], [0.0]), ([2], [0.0])], "a")


def test_seeds_of_a_label_are_one_curve_with_a_band(tmp_path):
    first, second = write_run(tmp_path / "s1", 0.1), write_run(tmp_path / "s2", 0.3)
    together = matplotlib.image.imread(plot_curve([("soft", first), ("soft", second)], tmp_path / "band.png"))
    apart = matplotlib.image.imread(plot_curve([("a", first), ("b", second)], tmp_path / "two.png"))
    assert pixels(together, BLUE) > 200 and pixels(together, ORANGE) == 0
    assert pixels(together, BLUE, alpha=0.15) > 5000 and pixels(apart, BLUE, alpha=0.15) < 500
    assert pixels(apart, ORANGE) > 200


def test_reads_what_verls_tensorboard_logger_writes(tmp_path, monkeypatch):
    tracking = pytest.importorskip("verl.utils.tracking")
    monkeypatch.setenv("TENSORBOARD_DIR", str(tmp_path / "events"))
    writer = tracking._TensorboardAdapter("project", "experiment")
    for step in (1, 2):
        writer.log({"critic/score/mean": 0.25 * step, ACCURACY: 0.5}, step=step)
    writer.finish()
    rows = read_run(tmp_path / "events")
    assert rows == [
        (1, {"critic/score/mean": 0.25, ACCURACY: 0.5}),
        (2, {"critic/score/mean": 0.5, ACCURACY: 0.5}),
    ]
    (file,) = (path for path in (tmp_path / "events").rglob("*") if path.is_file())
    assert read_run(file) == rows


def test_pass_at_k_curve_is_a_picture_of_both_modes(tmp_path):
    file = tmp_path / "eval.json"
    file.write_text(json.dumps({"modes": {"soft": {"pass_at_k": MODE, "more": 1}, "discrete": {"pass_at_k": MODE}}}))
    assert read_evaluation(file).modes["soft"].pass_at_k.high == MODE["high"]
    picture = matplotlib.image.imread(plot_pass_at_k([("run", file)], tmp_path / "out.png"))
    # Both curves are the same numbers: the second is drawn over the first, whose marker shows in the legend.
    assert pixels(picture, ORANGE) > 200 and pixels(picture, BLUE) > 20


@pytest.mark.parametrize(
    ("mode", "message"),
    [
        (MODE | {"k": [1, 2]}, "modes.soft.pass_at_k: .*one length"),
        (MODE | {"mean": [0.5, 0.7, 0.95]}, "modes.soft.pass_at_k: .*low <= mean <= high"),
        (MODE | {"mean": [0.5, 0.7, 1.5]}, "modes.soft.pass_at_k.mean.2: .*less than or equal to 1"),
        ({"k": [1]}, "modes.soft.pass_at_k.mean: Field required"),
    ],
)
def test_a_wrong_evaluation_is_named(tmp_path, mode, message):
    file = tmp_path / "eval.json"
    file.write_text(json.dumps({"modes": {"soft": {"pass_at_k": mode}}}))
    with pytest.raises(ValueError, match=message):
        read_evaluation(file)


def test_labels(tmp_path):
    run = write_run(tmp_path / "run1", 0.1)
    assert labelled([f"soft={run}", str(run), str(run / "metrics.jsonl")]) == [
        ("soft", run),
        ("run1", run),
        ("run1", run / "metrics.jsonl"),
    ]
    with pytest.raises(FileNotFoundError, match="nothing does not exist: give a run's directory or file"):
        labelled(["a=nothing"])


def test_the_command(tmp_path):
    run, runner = write_run(tmp_path / "run1", 0.1), CliRunner()
    (tmp_path / "eval.json").write_text(json.dumps({"modes": {"soft": {"pass_at_k": MODE}}}))
    for argument in (f"soft={run}", str(tmp_path / "eval.json")):
        out = tmp_path / "figure.png"
        result = runner.invoke(app, ["plot", argument, "--out", str(out)])
        assert result.exit_code == 0, result.output
        assert matplotlib.image.imread(out).shape[0] >= 400
        out.unlink()
    mixed = runner.invoke(app, ["plot", str(run), str(tmp_path / "eval.json")])
    assert mixed.exit_code == 2 and "cannot share a figure" in mixed.output
    missing = runner.invoke(app, ["plot", str(run), "--reward", "critic/nothing"])
    assert missing.exit_code == 2 and "'critic/nothing'; there are: critic/score/mean" in missing.output
