import math

import torch
from tokenizers import Tokenizer

from sdvlm.nano.numbers import VALUES, NumberTokens, ValuesHead

MARK = "<assistant>"


def encode(tokenizer: Tokenizer, question: str, answer: str) -> tuple[list[int], int]:
    asked, said = (tokenizer.encode(text, add_special_tokens=False).ids for text in (question, answer))
    mark, end = tokenizer.token_to_id(MARK), tokenizer.token_to_id("<eos>")
    return [*asked, mark, *said, end], len(asked)


def test_the_states_before_each_token_of_a_number_are_told_what_it_is(tokenizer: Tokenizer) -> None:
    ids, start = encode(tokenizer, "The door is 2.15 m high. How high is the table?", "0.40 m")
    columns, values = NumberTokens(tokenizer).targets(ids, start)
    assert columns == [start, start + 1, start + 2, start + 3]  # from the mark on; the question's number is not said
    assert [tokenizer.decode([ids[column + 1]]) for column in columns] == ["0", ".", "4", "0"]
    torch.testing.assert_close(values[:, 0], torch.full((4,), math.log(0.4)))
    assert values[:, 1].isnan().all()


def test_points_are_coordinates_and_several_numbers_each_have_their_own(tokenizer: Tokenizer) -> None:
    numbers = NumberTokens(tokenizer)
    columns, values = numbers.targets(*encode(tokenizer, "Where is it?", "(0.72,0.28)"))
    assert len(columns) == 8
    assert values[:, 0].isnan().all()
    torch.testing.assert_close(values[:, 1], torch.tensor([0.72] * 4 + [0.28] * 4))
    columns, values = numbers.targets(*encode(tokenizer, "How big is it?", "0.83 m x 0.63 m x 0.40 m"))
    torch.testing.assert_close(values[::4, 0], torch.tensor([0.83, 0.63, 0.40]).log())
    columns, values = numbers.targets(*encode(tokenizer, "How many?", "3"))
    assert columns == []
    assert values.shape == (0, 2)


def test_a_number_is_told_as_the_bins_around_it() -> None:
    head = ValuesHead(8)
    torch.nn.init.zeros_(head.read.weight)
    lengths = VALUES["log_length"][2]
    low, high, _ = VALUES["log_length"]
    at_a_bin = low + 5 * (high - low) / (lengths - 1)
    with torch.no_grad():
        head.read.bias.zero_()
        head.read.bias[5] = 20.0
    said = torch.tensor([[at_a_bin, torch.nan], [torch.nan, 0.5]])
    losses = head.losses(torch.randn(2, 8), said)
    assert float(losses[0].detach()) < 1e-4  # sure of the right bin
    torch.testing.assert_close(losses[1], torch.tensor(math.log(VALUES["coordinate"][2])))  # knows nothing of the point
    beside = torch.tensor([[at_a_bin + 0.5 * (high - low) / (lengths - 1), torch.nan]])
    torch.testing.assert_close(head.losses(torch.randn(1, 8), beside), torch.tensor([10.0]), atol=1e-3, rtol=0)
