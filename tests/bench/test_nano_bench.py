"""bench nano measures the embedded model in processes of their own."""

import pytest

from sdvlm.bench import nano
from sdvlm.bench.nano import bench_nano
from sdvlm.nano import NANO_FOLDER
from sdvlm.types import SdvlmError

needs_nano = pytest.mark.skipif(not (NANO_FOLDER / "model.safetensors").is_file(), reason="no nano weights here")


@needs_nano
def test_every_figure_is_the_median_of_what_the_processes_said():
    found = bench_nano(repeats=1, questions=3)
    for name in ("libraries_s", "load_s", "first_answer_s", "answers_s", "peak_memory_mb"):
        assert found["spread"][name]["min"] == found[name] == found["spread"][name]["max"] > 0
    assert found["questions"] == 3
    assert found["weights_mb"] == pytest.approx((NANO_FOLDER / "model.safetensors").stat().st_size / 1e6, abs=0.01)


def test_a_process_that_fails_is_one_clear_error(monkeypatch):
    monkeypatch.setattr(nano, "__name__", "sdvlm.bench.nothing_here")
    with pytest.raises(SdvlmError, match="did not answer in a fresh process"):
        nano._in_a_process("{}")


def test_no_repeats_are_refused():
    with pytest.raises(SdvlmError, match="at least one repeat"):
        bench_nano(repeats=0)
