import torch

from sdvlm.nano.grounding import GROUNDING_HEADS, grounding_targets


def test_targets_of_an_edge_lie_on_the_edge() -> None:
    coverage = torch.zeros(4, 4)
    coverage[1:3, 1:4] = 1
    targets = grounding_targets(coverage.flatten(), 4)
    assert targets.shape == (len(GROUNDING_HEADS), 17)
    torch.testing.assert_close(targets.sum(-1), torch.ones(5))
    grids = dict(zip(GROUNDING_HEADS, targets[:, 1:].view(5, 4, 4), strict=True))
    torch.testing.assert_close(grids["whole"], coverage / 6)
    assert grids["top"].nonzero()[:, 0].tolist() == [1, 1, 1]
    assert grids["bottom"].nonzero()[:, 0].tolist() == [2, 2, 2]
    assert grids["left"].nonzero()[:, 1].tolist() == [1, 1]
    assert grids["right"].nonzero()[:, 1].tolist() == [3, 3]


def test_what_is_absent_points_at_the_first_token() -> None:
    targets = grounding_targets(torch.zeros(16), 4)
    assert targets[:, 0].tolist() == [1] * 5
    assert not targets[:, 1:].any()
