"""Metrics files as verl writes them, learning curves and the summary of a run."""

import json
import logging

import matplotlib.image
import pytest

from verl_softthink.report.curve import plot_curve, running_mean
from verl_softthink.report.metrics_file import elapsed, read_metrics, series, validation_metric
from verl_softthink.report.summary import Summary, build_summary, write_summary

ACCURACY = "val-core/openai/gsm8k/acc/mean@4"


def step_metrics(step: int) -> dict[str, float]:
    return {
        "critic/score/mean": 0.2 + 0.1 * step,
        "timing_s/step": 2.0,
        "perf/total_num_tokens": 1600,
        "prompt_length/mean": 60.0,
        "response_length/mean": 20.0,
        "softthink/soft_fraction": 0.25 * step,
    }


def write_run(path, first=1, last=3, before=True):
    rows = [{"step": 0, "data": {ACCURACY: 0.25, "val-aux/openai/gsm8k/acc/std@4": 0.1}}] if before else []
    for step in range(first, last + 1):
        rows.append({"step": step, "data": step_metrics(step) | ({ACCURACY: 0.5} if step == last else {})})
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture
def run(tmp_path):
    return write_run(tmp_path / "metrics.jsonl")


def test_reads_what_verls_own_logger_writes(tmp_path, monkeypatch):
    tracking = pytest.importorskip("verl.utils.tracking")
    monkeypatch.setenv("VERL_FILE_LOGGER_PATH", str(tmp_path / "metrics.jsonl"))
    logger = tracking.FileLogger("project", "experiment")
    logger.log({"critic/score/mean": 0.5, "actor/grad_norm": float("nan")}, step=3)
    logger.finish()
    rows = read_metrics(tmp_path / "metrics.jsonl")
    assert series(rows, "critic/score/mean") == ([3], [0.5])
    steps, values = series(rows, "actor/grad_norm")
    assert steps == [3] and values[0] != values[0]  # verl writes nan as null


def test_a_cut_last_line_is_reported_and_left_out(run, caplog):
    with run.open("a") as file:
        file.write('{"step": 4, "data": {"critic/sc')
    with caplog.at_level(logging.WARNING):
        assert [step for step, _ in read_metrics(run)] == [0, 1, 2, 3]
    assert f"{run}:5" in caplog.text and "cut short" in caplog.text


def test_a_broken_line_inside_is_an_error(run):
    lines = run.read_text().splitlines(keepends=True)
    run.write_text("".join([*lines[:1], "{}\n", *lines[1:]]))
    with pytest.raises(ValueError, match=r"metrics\.jsonl:2: it is no(t JSON| line of verl's file logger)"):
        read_metrics(run)


def test_a_directory_is_one_run_and_the_later_start_wins(tmp_path):
    write_run(tmp_path / "metrics-1.jsonl", last=3)
    write_run(tmp_path / "metrics-2.jsonl", first=3, last=5, before=False)
    rows = read_metrics(tmp_path)
    assert [step for step, _ in rows] == [0, 1, 2, 3, 4, 5]
    assert series(rows, ACCURACY) == ([0, 3, 5], [0.25, 0.5, 0.5])


def test_nothing_to_read_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError, match="trainer.logger"):
        read_metrics(tmp_path)
    (tmp_path / "metrics.jsonl").touch()
    with pytest.raises(ValueError, match="before its first step"):
        read_metrics(tmp_path)


def test_missing_metrics_name_what_exists(run):
    rows = read_metrics(run)
    with pytest.raises(ValueError, match=r"'critic/rewards/mean'; there are: critic/score/mean"):
        series(rows, "critic/rewards/mean")
    assert validation_metric(rows) == ACCURACY
    with pytest.raises(ValueError, match=r"test_freq.*metrics of: critic, perf, prompt_length"):
        validation_metric([(1, step_metrics(1))])
    with pytest.raises(ValueError, match="several validation accuracies.*val-core/a/acc/mean@1"):
        validation_metric([(0, {ACCURACY: 0.1, "val-core/a/acc/mean@1": 0.2})])


def test_running_mean_by_hand():
    assert running_mean([1.0, 2.0, float("nan"), 6.0], 2) == [1.0, 1.5, 2.0, 6.0]


def test_curve_is_a_picture_of_both_runs(run, tmp_path):
    other = write_run(tmp_path / "other.jsonl", last=5)
    one = matplotlib.image.imread(plot_curve([("soft", run)], tmp_path / "one.png"))
    two = matplotlib.image.imread(plot_curve([("soft", run), ("plain", other)], tmp_path / "two.png", title="Both"))

    def pixels(picture, colour: tuple[int, int, int]) -> int:
        return int((abs(picture[..., :3] * 255 - colour).max(-1) < 2).sum())

    blue, orange = (0x00, 0x72, 0xB2), (0xD5, 0x5E, 0x00)
    assert one.shape[1] > one.shape[0] >= 400
    assert pixels(one, blue) > 200 and pixels(one, orange) == 0
    assert pixels(two, blue) > 200 and pixels(two, orange) > 200


def test_curve_refuses_what_it_cannot_draw(run, tmp_path):
    with pytest.raises(ValueError, match="at least one run"):
        plot_curve([], tmp_path / "x.png")
    with pytest.raises(ValueError, match="window=0"):
        plot_curve([("a", run)], tmp_path / "x.png", window=0)
    with pytest.raises(ValueError, match="'critic/nothing'"):
        plot_curve([("a", run)], tmp_path / "x.png", reward="critic/nothing")
    assert not (tmp_path / "x.png").exists()


def test_summary_of_a_run(run, tmp_path):
    write_summary(build_summary(run), tmp_path / "out" / "summary.json")
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert list(summary) == list(Summary.model_fields) and len(summary) == 8
    assert (summary["accuracy_before"], summary["accuracy_after"], summary["steps"]) == (0.25, 0.5, 3)
    # 1600 tokens a step are 20 responses of 60 + 20 tokens: 400 generated tokens in each of 3 steps.
    assert (summary["train_seconds"], summary["rollout_tokens"], summary["soft_fraction"]) == (6.0, 1200, 0.5)
    assert summary["verl_version"].startswith("0.9") and summary["vllm_version"][0].isdigit()
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["summary.json"]


@pytest.mark.parametrize("logged", ["actor/other", "softthink/attnrl/prompts"])
def test_soft_fraction_of_a_discrete_run_is_zero_whatever_its_method_logs(run, logged):
    run.write_text(run.read_text().replace("softthink/soft_fraction", logged))
    assert build_summary(run).soft_fraction == 0.0


def test_one_of_several_accuracies_is_summarised(run):
    run.write_text(run.read_text().replace(f'"{ACCURACY}"', f'"val-core/hard/acc/mean@1": 0.125, "{ACCURACY}"'))
    with pytest.raises(ValueError, match="name one of: .*val-core/hard/acc/mean@1"):
        build_summary(run)
    assert build_summary(run, validation=ACCURACY).accuracy_after == 0.5
    assert build_summary(run, validation="val-core/hard/acc/mean@1").accuracy_after == 0.125


def test_a_run_that_was_validated_once_or_never_is_summarised_all_the_same(tmp_path):
    once = build_summary(write_run(tmp_path / "once.jsonl", first=3, before=False))
    assert (once.accuracy_before, once.accuracy_after, once.steps) == (0.5, None, 1)
    path = tmp_path / "never.jsonl"
    rows = [{"step": step, "data": step_metrics(step)} for step in (1, 2)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    never = build_summary(path)
    assert (never.accuracy_before, never.accuracy_after) == (None, None)
    assert (never.steps, never.train_seconds, never.rollout_tokens) == (2, 4.0, 800)
    assert plot_curve([("run", path)], tmp_path / "never.png").exists()
    # One panel in place of two.
    assert matplotlib.image.imread(tmp_path / "never.png").shape[1] == 900
    with pytest.raises(ValueError, match="val-core/x/acc/mean@1"):
        build_summary(path, validation="val-core/x/acc/mean@1")


def test_what_a_run_has_spent_by_hand(run):
    rows = read_metrics(run)
    assert elapsed(rows, "step") == {0: 0, 1: 1, 2: 2, 3: 3}
    assert elapsed(rows, "seconds") == {0: 0, 1: 2, 2: 4, 3: 6}
    # 1600 tokens a step, of which 20 of 80 are a response's.
    assert elapsed(rows, "tokens") == {0: 0, 1: 400, 2: 800, 3: 1200}


def test_curves_over_tokens_and_seconds_are_other_pictures(run, tmp_path):
    pictures = [
        plot_curve([("run", run)], tmp_path / f"{unit}.png", unit=unit).read_bytes()
        for unit in ("step", "tokens", "seconds")
    ]
    assert len(set(pictures)) == 3
    with pytest.raises(ValueError, match="x='hours' is no unit of a run's progress; use one of step, tokens, seconds"):
        plot_curve([("run", run)], tmp_path / "x.png", unit="hours")


def test_summary_refuses_impossible_numbers(run):
    run.write_text(run.read_text().replace(f'"{ACCURACY}": 0.5', f'"{ACCURACY}": 1.5'))
    with pytest.raises(ValueError, match="accuracy_after"):
        build_summary(run)
