from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer

from sdvlm.nano.tokenizer import SPECIAL_TOKENS, train_tokenizer

TOKENIZER = train_tokenizer(["How tall is the red chair?", "The red chair is 1.84 m tall."] * 10, 400)


def test_every_digit_is_a_token_of_its_own(tokenizer: Tokenizer) -> None:
    pieces = tokenizer.encode("12.84 m x 305").tokens
    assert [piece for piece in pieces if any(c.isdigit() for c in piece)] == list("1284305")


@given(st.text(max_size=40).filter(lambda text: not any(mark in text for mark in SPECIAL_TOKENS)))
def test_any_text_without_its_marks_survives_the_round_trip(text: str) -> None:
    assert TOKENIZER.decode(TOKENIZER.encode(text).ids) == text


def test_special_tokens_come_first_in_their_order(tokenizer: Tokenizer) -> None:
    assert [tokenizer.token_to_id(mark) for mark in SPECIAL_TOKENS] == list(range(len(SPECIAL_TOKENS)))


def test_colours_and_things_are_single_tokens_inside_a_sentence(tokenizer: Tokenizer) -> None:
    pieces = tokenizer.encode("Is the red chair left of the blue sofa?").tokens
    assert {"Ġred", "Ġchair", "Ġblue", "Ġsofa"} <= set(pieces)
