from sdvlm.nano.card import model_card


def board(right: int) -> dict:
    score = {"rate": right / 100, "interval": [right / 100 - 0.05, right / 100 + 0.05]}
    return {"families": {"count": score, "zero": score}, "macro": score}


RUN = {"parameters": 5.1, "megabytes": 10.8, "image_tokens": 144, "notes": ["Made of 100 rooms."]}


def test_the_card_shows_the_rows_side_by_side_with_intervals() -> None:
    rows = {"constant": board(20), "with depth": board(60), "trained without depth": board(40)}
    card = model_card({"rows": {"rooms": rows}, "questions": 987, "pictures": 124}, RUN)
    assert "987 questions about 124 pictures" in card
    assert "| count | 60 (55-65) | 40 (35-45) | 20 (15-25) |" in card
    assert "| **mean of the families** | 60 (55-65) |" in card
    assert "answers may be wrong" in " ".join(card.split())
    assert "- Made of 100 rooms." in card
    assert "changed" not in card


def test_the_card_says_what_changes_and_other_exams_do_to_it() -> None:
    rows = {"with depth": board(60), "wording 1": board(50), "wording 2": board(58), "noise 0.7 m": board(44)}
    scores = {
        "rows": {"rooms": rows, "scaled rooms": {"with depth": board(55), "trained without depth": board(30)}},
        "leads": {"scaled rooms": {"trained without depth": board(25), "depth withheld": board(9)}},
        "units": {"right": 0.5, "in_metres": 0.6, "in_the_unit": 0.99},
        "questions": 987,
        "pictures": 124,
    }
    card = model_card(scores, RUN)
    assert "| wordings that training never used (2) | 54.0 (50.0-58.0) |" in card
    assert "| noise 0.7 m | 44 (39-49) |" in card
    assert "| lengths asked in other units | 50 (60 in metres; 99 % of the answers name the unit) |" in card
    assert "## Rooms of another scale" in card
    assert "in points: 25 (20-30) over trained without depth." in card
