from sdvlm.bench.official import bench_official


def test_differences_that_geometry_alone_decides() -> None:
    found = bench_official(rooms=1)
    assert found["aligned_against_unpadded_4_to_3"]["tokens_that_see_only_padding"] == 6 / 24
    wide = found["aligned_against_unpadded_wide"]
    assert wide["tokens_that_see_only_padding"] == round(14 / 24, 3)  # 400 of 1024 rows: tokens 7 to 16 see some
    assert wide["largest"] > found["aligned_against_unpadded_4_to_3"]["median"] > 0
    assert found["metres_doubled"]["largest"] < 0.01  # min-max: the same code for a room twice as large
    assert found["sensor_against_disparity"]["correlation_median"] < -0.5
    assert 0.03 < found["half_precision_sine"]["largest"] < 0.12
