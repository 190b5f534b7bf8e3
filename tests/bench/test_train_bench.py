"""bench train compares like with like."""

import pytest

from sdvlm.bench.random_vlm import SHAPES, random_vlm
from sdvlm.bench.train import bench_train


@pytest.mark.parametrize("shape", ["toy", "qwen-toy"])
def test_packed_and_separate_rows_have_the_same_gradient_and_the_packed_one_far_fewer_tokens(shape):
    found = bench_train(shape=shape, rank=4, repeats=1, questions=4)
    assert found["gradient_error"] < 1e-5
    (row,) = found["counts"]
    tokens = row["tokens"]
    shared = tokens["separate"] - tokens["packed"]
    assert shared % 3 == 0  # the prefix, three times
    assert shared // 3 >= found["model"]["image_tokens"]
    assert found["speedup"] == row["speedup"] > 0
    assert found["trained_parameters"] > 0


def test_the_published_sizes_are_those_of_the_models():
    import torch

    with torch.device("meta"):
        for shape, billions in (("llava-1.5-7b", 7.06), ("qwen2.5-vl-7b", 8.29)):
            assert shape in SHAPES
            model, _ = random_vlm(shape, "meta", torch.bfloat16)
            assert sum(one.numel() for one in model.vlm.parameters()) / 1e9 == pytest.approx(billions, rel=0.01)
