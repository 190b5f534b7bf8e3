import json
from pathlib import Path

import torch
from safetensors.torch import save_file

from sdvlm.nano.card import main, model_card


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
    assert "trained without depth, the same recipe" in card
    assert "min-max" not in card


def test_the_card_says_what_changes_and_other_exams_do_to_it() -> None:
    rows = {"with depth": board(60), "wording 1": board(50), "wording 2": board(58), "noise 0.7 m": board(44)}
    scores = {
        "rows": {"rooms": rows, "scaled rooms": {"with depth": board(55), "trained without depth": board(30)}},
        "leads": {"scaled rooms": {"trained without depth": board(25), "depth withheld": board(9)}},
        "units": {"right": 0.5, "in_metres": 0.6, "in_the_unit": 0.99},
        "wordings": {"pairs": 10, "within_5": 6, "within_10": 7, "lost": 2, "rates": {}},
        "on_the_way": [{"step": 500, "with depth": 0.51, "wording 1": 0.4, "lengths in other units": 0.2}],
        "questions": 987,
        "pictures": 124,
    }
    card = model_card(scores, RUN)
    assert "| wordings that training never used (2) | 54.0 (50.0-58.0) |" in card
    assert "| noise 0.7 m | 44 (39-49) |" in card
    assert "| lengths asked in other units | 50 (60 in metres; 99 % of the answers name the unit) |" in card
    assert "Of 10 pairs of topic and unseen wording 6 are answered" in card
    assert "worse, 7 at most 10, 2 more than 30 points worse." in card
    assert "## Rooms of another scale" in card
    assert "| 500 | 51.0 | 40.0 | 20.0 |\n| end | 60.0 | 50.0 | 50.0 |" in card
    assert "in points: 25 (20-30) over trained without depth." in card


def test_a_finished_run_is_written_down_with_its_losses_and_notes(tmp_path: Path) -> None:
    folder = tmp_path / "out" / "with-depth" / "checkpoint"
    folder.mkdir(parents=True)
    save_file({"a": torch.zeros(1000, 20), "b": torch.zeros(5)}, folder / "model.safetensors")
    (folder / "nano.json").write_text(json.dumps({"image_size": 192, "patch_size": 16}))
    log = [{"step": step, "answer": 2.0 / step, "facts": 1.0} for step in (100, 200)]
    (folder.parent / "weights.log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in log))
    (tmp_path / "out" / "recipe.json").write_text(json.dumps({"steps": 200, "start": "/some/where/old"}))
    scores = {"rows": {"rooms": {"with depth": board(60)}}, "questions": 987, "pictures": 124}
    (tmp_path / "out" / "scores.json").write_text(json.dumps(scores))
    (tmp_path / "notes.md").write_text("# Notes\n\n- First.\n- Second.\n")
    (tmp_path / "controls.json").write_text(json.dumps({"failed": ["T3"]}))
    names = ("notes.md", "scores.json", "card.md", "controls.json")
    given = [word for name in names for word in (f"--{name.split('.')[0]}", str(tmp_path / name))]
    main([str(tmp_path / "out"), *given])

    kept = json.loads((tmp_path / "scores.json").read_text())
    run = {
        "parameters": 20_005 / 1e6,
        "image_tokens": 144,
        "notes": ["First.", "Second."],
        "recipe": {"steps": 200, "start": "old"},
    }
    assert {name: kept["run"][name] for name in run} == run
    assert kept["curve"] == {"with-depth": [{"step": 100, "answer": 0.02}, {"step": 200, "answer": 0.01}]}
    assert kept["controls"] == {"failed": ["T3"]}
    card = (tmp_path / "card.md").read_text()
    assert "- Second." in card
    assert "with-depth 0.02 at step 100, 0.01 at step 200" in card
