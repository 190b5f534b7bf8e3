"""Prompts are grouped by what they have in common up to their last picture."""

from __future__ import annotations

from sdvlm.models.prompt_groups import Alike, alike

PICTURE = 9


def test_prompts_that_are_one_to_their_last_picture_share_as_far_as_they_agree() -> None:
    prompts = [[1, 9, 9, 5, 6], [1, 9, 9, 5, 7, 8], [1, 2, 9, 9, 5], [1, 9, 9, 5, 6]]
    assert alike(prompts, PICTURE) == [Alike((0, 1, 3), 4), Alike((2,), 4)]


def test_a_picture_is_never_cut() -> None:
    assert alike([[1, 9, 9, 5], [1, 9, 9]], PICTURE) == [Alike((0, 1), 0)]
    assert alike([[1, 9, 9]], PICTURE) == [Alike((0,), 0)]


def test_without_pictures_all_are_one_group() -> None:
    assert alike([[1, 2, 3], [1, 2], [1, 4]], PICTURE) == [Alike((0, 1, 2), 1)]
    assert alike([[1]], PICTURE) == [Alike((0,), 0)]
