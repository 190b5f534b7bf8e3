import numpy as np

from sdvlm.scenes.spread import spread_depth


def test_each_pixel_takes_the_nearest_measurement_within_reach() -> None:
    rng = np.random.default_rng(0)
    depth = np.full((60, 90), np.nan, dtype=np.float32)
    points = [(int(r), int(c)) for r, c in zip(rng.integers(0, 60, 40), rng.integers(0, 45, 40), strict=True)]
    for index, (row, column) in enumerate(points):
        depth[row, column] = 1 + index
    spread = spread_depth(depth)
    known = np.argwhere(np.isfinite(depth))
    reach = np.ceil(1.2 * np.sqrt(60 * 90 / len(known)))
    for row in range(60):
        for column in range(90):
            squared = ((known - [row, column]) ** 2).sum(axis=1)
            nearest = {float(depth[tuple(known[k])]) for k in np.flatnonzero(squared == squared.min())}
            if squared.min() <= reach**2:
                assert float(spread[row, column]) in nearest
            else:
                assert np.isnan(spread[row, column])
    assert np.isnan(spread).any()
    assert np.isnan(depth[0]).any()


def test_pictures_with_holes_and_empty_ones_are_left_alone() -> None:
    holes = np.where(np.arange(100).reshape(10, 10) % 3 == 0, 2.0, np.nan).astype(np.float32)
    assert spread_depth(holes) is holes
    empty = np.full((4, 4), np.nan, dtype=np.float32)
    assert spread_depth(empty) is empty
