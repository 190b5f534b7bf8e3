"""The log of a run: one line an entry, resumed without doubles, TensorBoard where it is."""

import math

import pytest

from sdvlm.extras import is_installed
from sdvlm.pretrain.log import RunLog, read_metrics
from sdvlm.types import SdvlmError


def test_entries_come_back_and_what_is_no_number_is_null(tmp_path):
    log = RunLog(tmp_path, tensorboard=False)
    log.write("eval", 0, {"r1": 0.5, "r2": math.nan})
    assert read_metrics(tmp_path) == [{"kind": "eval", "step": 0, "r1": 0.5, "r2": None}]


def test_going_on_drops_what_comes_again_and_a_line_cut_short(tmp_path):
    log = RunLog(tmp_path, tensorboard=False)
    for step in range(5):
        log.write("train", step, {"loss": float(step)})
    with (tmp_path / "metrics.jsonl").open("a") as stream:
        stream.write('{"kind": "train", "st')
    assert len(read_metrics(tmp_path)) == 5
    RunLog(tmp_path, resumed_at=2, tensorboard=False).write("train", 3, {"loss": 9.0})
    assert [(one["step"], one["loss"]) for one in read_metrics(tmp_path)] == [(0, 0), (1, 1), (2, 2), (3, 9)]


def test_a_new_run_starts_a_new_log(tmp_path):
    RunLog(tmp_path, tensorboard=False).write("train", 1, {"loss": 1.0})
    RunLog(tmp_path, tensorboard=False)
    assert read_metrics(tmp_path) == []


def test_tensorboard_is_written_where_it_is_installed_and_asked_for_by_name_where_it_is_not(tmp_path):
    if not is_installed("tensorboard"):
        with pytest.raises(SdvlmError, match="pip install"):
            RunLog(tmp_path, tensorboard=True)
        return
    log = RunLog(tmp_path, tensorboard=True)
    log.write("eval", 3, {"r1": 0.25})
    log.close()
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    (event,) = events.Scalars("eval/r1")
    assert (event.step, event.value) == (3, 0.25)
