"""The bench of pairs measures builds and a plain loop that give the same depth."""

import numpy as np
import pytest
from PIL import Image

from sdvlm.bench.pairs import bench_pairs, plain_loop, write_checkpoint, write_pictures
from sdvlm.pairs.build import build_pairs
from sdvlm.pairs.config import PairsConfig
from sdvlm.pairs.dataset import PairDataset
from sdvlm.pairs.source import open_source
from sdvlm.types import SdvlmError


def test_the_plain_loop_gives_the_depth_that_the_build_gives(tmp_path):
    write_pictures(tmp_path / "in", 3, (56, 42))
    write_checkpoint(tmp_path / "weights", 16, 4, 28)
    plain_loop(tmp_path / "in", tmp_path / "weights")(tmp_path / "plain")
    config = PairsConfig(estimator=str(tmp_path / "weights"), test_share=0.0)
    data = PairDataset(build_pairs(open_source(tmp_path / "in"), tmp_path / "pairs", config).out)
    assert len(data) == 3
    for pair in data:
        png = np.asarray(Image.open(tmp_path / "plain" / pair.pair_id.replace(".jpg", ".png"))) / 1000
        assert np.median(np.abs(png - pair.depth.values)) < 0.02 * np.median(png)


def test_all_figures_are_there_and_fit_together():
    result = bench_pairs(pictures=3, repeats=1, size=(56, 42), width=16, layers=4, side=28, many=(3, 6))
    rates = result["pictures_per_second"]
    assert set(rates) == {"build", "plain", "estimator"}
    assert result["build_over_plain_loop"]["median"] == pytest.approx(
        rates["build"]["median"] / rates["plain"]["median"], rel=0.02
    )
    assert result["duplicates"] == 0
    assert set(result["memory"]["peak_mb"]) == {"3", "6"}


def test_a_bench_of_nothing_is_refused():
    with pytest.raises(SdvlmError, match="at least one picture"):
        bench_pairs(pictures=0)
