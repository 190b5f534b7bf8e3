import math

import pytest
import torch
from tokenizers import Tokenizer

from sdvlm.nano.encode import FrameEncoder
from sdvlm.nano.frames import NanoFrame
from sdvlm.nano.numbers import VALUES, ValuesHead, numbers_said


def test_the_states_before_each_token_of_a_number_are_told_what_it_is(
    tokenizer: Tokenizer, frames: list[NanoFrame]
) -> None:
    encoder, told = FrameEncoder(frames[0], tokenizer), 0
    for question in frames[0].questions:
        tokens = encoder.encode(question)
        said = ["".join(tokenizer.decode([tokens.ids[c + 1]]) for c, _, n in tokens.said if n == i) for i in range(3)]
        numbers = numbers_said(question["answer"])
        assert [one for one in said if one] == [question["answer"][one.start : one.stop] for one in numbers]
        assert [column for column, _, _ in tokens.said] == sorted({column for column, _, _ in tokens.said})
        assert all(column >= tokens.answer_start for column, _, _ in tokens.said)
        told += len(numbers)
    assert told > 3


@pytest.mark.parametrize(
    ("answer", "metres"),
    [
        ("0.40 m", [0.4]),
        ("184 cm", [1.84]),
        ("1360 mm, 930 mm", [1.36, 0.93]),
        ("8.00 ft", [2.4384]),
        ("82.9 in x 35.1 in x 43.8 in", [2.10566, 0.89154, 1.11252]),
    ],
)
def test_a_length_is_the_same_in_every_unit(answer: str, metres: list[float]) -> None:
    said = numbers_said(answer)
    assert [math.exp(one.value[0]) for one in said] == pytest.approx(metres)
    assert all(math.isnan(one.value[1]) for one in said)
    in_unit = [float(answer[one.start : one.stop]) for one in said]
    assert [math.exp(one.value[2]) for one in said] == pytest.approx(in_unit)


def test_points_are_coordinates_and_counts_are_neither() -> None:
    said = numbers_said("(0.72,0.28)")
    assert [one.value[1] for one in said] == [0.72, 0.28]
    assert all(math.isnan(one.value[0]) and math.isnan(one.value[2]) for one in said)
    assert numbers_said("3") == []
    assert numbers_said("black dresser") == []


def test_a_number_is_told_as_the_bins_around_it() -> None:
    head = ValuesHead(8)
    torch.nn.init.zeros_(head.read.weight)
    lengths = VALUES["log_length"][2]
    low, high, _ = VALUES["log_length"]
    at_a_bin = low + 5 * (high - low) / (lengths - 1)
    with torch.no_grad():
        head.read.bias.zero_()
        head.read.bias[5] = 20.0
    said = torch.tensor([[at_a_bin, torch.nan, torch.nan], [torch.nan, 0.5, torch.nan]])
    losses = head.losses(torch.randn(2, 8), said)
    assert float(losses[0].detach()) < 1e-4  # sure of the right bin
    torch.testing.assert_close(losses[1], torch.tensor(math.log(VALUES["coordinate"][2])))  # knows nothing of the point
    beside = torch.tensor([[at_a_bin + 0.5 * (high - low) / (lengths - 1), torch.nan, torch.nan]])
    torch.testing.assert_close(head.losses(torch.randn(1, 8), beside), torch.tensor([10.0]), atol=1e-3, rtol=0)
