"""Position embeddings stretched as DINOv2 itself does, against its formula in a loop."""

import json
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from sdvlm.depth.hf import load_hf_estimator
from sdvlm.depth.positions import OffsetEmbeddings

from .test_cubic import cubic_weights

Folder = Callable[[str], Path]


@pytest.fixture
def offset_folder(checkpoint: Folder, tmp_path: Path) -> Path:
    """A tiny Depth Anything whose config asks for DINOv2's own stretching."""
    import shutil

    folder = tmp_path / "offset"
    shutil.copytree(checkpoint("depth_anything_relative"), folder)
    config = json.loads((folder / "config.json").read_text())
    config["backbone_config"]["interpolate_offset"] = 0.1
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def test_embeddings_are_sampled_at_the_original_scale(offset_folder: Path) -> None:
    embeddings = load_hf_estimator(str(offset_folder), device="cpu").model.backbone.embeddings
    assert isinstance(embeddings, OffsetEmbeddings)
    stored, (rows, columns) = embeddings.position_embeddings.detach()[0].double().numpy(), (3, 5)
    side = math.isqrt(len(stored) - 1)
    table = stored[1:].reshape(side, side, -1)
    found = embeddings.interpolate_pos_encoding(torch.empty(1, 1 + rows * columns, 16), 14 * rows, 14 * columns)
    expected = np.zeros((rows, columns, table.shape[-1]))
    for i in range(rows):
        for j in range(columns):
            y, x = (i + 0.5) * side / (rows + 0.1) - 0.5, (j + 0.5) * side / (columns + 0.1) - 0.5
            for a, wy in enumerate(cubic_weights(y - math.floor(y))):
                for b, wx in enumerate(cubic_weights(x - math.floor(x))):
                    v, u = (min(max(math.floor(at) - 1 + step, 0), side - 1) for at, step in ((y, a), (x, b)))
                    expected[i, j] += wy * wx * table[v, u]
    np.testing.assert_allclose(found[0, 0].detach(), stored[0], atol=1e-6)
    np.testing.assert_allclose(found[0, 1:].detach(), expected.reshape(rows * columns, -1), atol=1e-4)


def test_only_a_config_that_asks_for_it_changes_the_depth_and_only_off_the_square(
    checkpoint: Folder, offset_folder: Path
) -> None:
    plain = load_hf_estimator(str(checkpoint("depth_anything_relative")), device="cpu")
    original = load_hf_estimator(str(offset_folder), device="cpu")
    rng = np.random.default_rng(3)
    square, wide = (rng.integers(0, 256, (h, w, 3), dtype=np.uint8) for w, h in ((28, 28), (70, 28)))
    first, second = ([one.values for one in estimator.raw([square, wide])] for estimator in (plain, original))
    np.testing.assert_array_equal(first[0], second[0])
    assert np.abs(first[1] - second[1]).max() > 1e-4
