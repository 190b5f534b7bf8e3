from sdvlm.nano.card import model_card


def board(right: int) -> dict:
    score = {"rate": right / 100, "interval": [right / 100 - 0.05, right / 100 + 0.05]}
    return {"families": {"count": score, "zero": score}, "macro": score}


def test_the_card_shows_the_rows_side_by_side_with_intervals() -> None:
    run = {"parameters": 5.1, "megabytes": 10.8, "image_tokens": 144, "questions": 1000, "pictures": 150}
    scores = {"constant": board(20), "with depth": board(60), "trained without depth": board(40)}
    card = model_card(scores, run | {"notes": ["Made of 100 rooms."]})
    assert "| count | 60 (55-65) | 40 (35-45) | 20 (15-25) |" in card
    assert "| **mean of the families** | 60 (55-65) |" in card
    assert "answers may be wrong" in " ".join(card.split())
    assert "- Made of 100 rooms." in card
