import numpy as np
import pytest

from sdvlm.data.schema import AnswerKind, QuestionType
from sdvlm.demo.room import make_demo_view, pick_questions
from sdvlm.types import SdvlmError


@pytest.fixture(scope="module", params=[3, 11])
def view(request):
    return make_demo_view(request.param)


def test_all_eight_kinds_are_asked_in_their_order(view):
    kinds = [list(QuestionType).index(question.type) for question in view.questions]
    assert set(kinds) == set(range(8))
    assert kinds == sorted(kinds)
    assert len(view.questions) == 12
    assert len({question.question for question in view.questions}) == 12


def test_the_picture_its_depth_and_its_camera_belong_together(view):
    frame = view.frame
    assert frame.size == frame.depth.size == frame.camera.size == (640, 480)
    for one in view.selection.kept:  # the depth at an object's pixels lies within its box's reach along the view
        mask = view.selection.observation.instances == one.id
        z = one.box_cam.corners()[:, 2]
        assert z.min() - 1e-3 <= np.nanmedian(frame.depth.values[mask]) <= z.max() + 1e-3


def test_enough_things_are_named_and_every_name_is_used_once(view):
    assert len(view.names) >= 5
    assert len(set(view.names.values())) == len(view.names)
    assert set(view.names) <= {one.id for one in view.selection.kept}


def test_the_same_seed_gives_the_same_picture_and_questions():
    first, second = make_demo_view(5), make_demo_view(5)
    assert np.array_equal(first.frame.image, second.frame.image)
    assert first.questions == second.questions
    assert not np.array_equal(first.frame.image, make_demo_view(6).frame.image)


def test_at_another_scale_only_what_is_measured_changes(view):
    small = view.at_scale(0.5)
    assert np.array_equal(small.frame.image, view.frame.image)
    assert np.allclose(small.frame.depth.values, view.frame.depth.values / 2, equal_nan=True)
    by_template = {(one.template, one.objects): one for one in view.questions}
    assert len(small.questions) >= 3
    for now in small.questions:
        before = by_template[now.template, now.objects]
        assert now.answer_typed.kind in (AnswerKind.LENGTH, AnswerKind.LENGTHS)
        assert np.allclose(now.answer_typed.values, np.array(before.answer_typed.values) / 2, atol=0.006)


def test_fewer_questions_than_kinds_are_refused():
    with pytest.raises(SdvlmError, match="at least that many"):
        make_demo_view(0, count=7)


def test_questions_are_spread_over_different_things(view):
    asked = pick_questions(view.questions, 8)
    assert [question.type for question in asked] == list(QuestionType)
    assert pick_questions(view.questions[:1], 8) == [view.questions[0]]
