"""All cells of a seed are shown the same steps, with the shares of missing and multiplied depth that were asked for."""

from dataclasses import replace

import numpy as np

from sdvlm.ablation.config import AblationConfig
from sdvlm.ablation.draw import Draws
from sdvlm.ablation.rooms import Rooms
from sdvlm.data.scaled_question import scaled_question


def test_a_seed_decides_the_steps_and_another_seed_gives_others(rooms: Rooms, toy: AblationConfig) -> None:
    one, same, other = (Draws(rooms.questions, toy, (1, seed)) for seed in (0, 0, 1))
    steps = [[draws.draw() for _ in range(5)] for draws in (one, same, other)]
    assert steps[0] == steps[1]
    assert steps[0] != steps[2]


def test_shares_of_missing_and_scaled_depth_are_those_asked_for(rooms: Rooms, toy: AblationConfig) -> None:
    draws = Draws(rooms.questions, replace(toy, pictures=50), (1, 0))
    shown = [one for _ in range(20) for one in draws.draw()]
    with_depth = [one for one in shown if one.depth]
    assert abs(len(with_depth) / len(shown) - 0.8) < 0.05
    scaled = [one for one in with_depth if one.factor != 1]
    assert abs(len(scaled) / len(with_depth) - 0.5) < 0.06
    logs = np.abs(np.log([one.factor for one in scaled])) / np.log(toy.largest_scale)
    assert logs.max() <= 1
    assert abs(logs.mean() - 0.5) < 0.06
    assert all(one.factor == 1 for one in shown if not one.depth)


def test_drawn_questions_are_the_pictures_own_multiplied(rooms: Rooms, toy: AblationConfig) -> None:
    draws = Draws(rooms.questions, toy, (1, 0))
    for one in [one for _ in range(10) for one in draws.draw()]:
        own = [scaled_question(sample, one.factor) for sample in rooms.questions[one.index]]
        assert len(one.questions) == toy.questions
        assert all(question in own for question in one.questions)
