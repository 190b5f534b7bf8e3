import math

import torch
from tokenizers import Tokenizer

from sdvlm.nano.numbers import NumberTokens

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
