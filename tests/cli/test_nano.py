"""What `sdvlm nano` refuses, before anything is drawn."""

import pytest


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--arm", "depth"], "--arm is one of with-depth, without-depth, min-max; got 'depth'"),
        (["--start", "nowhere"], "nowhere holds no nano checkpoint (nano.json)"),
    ],
)
def test_training_that_cannot_begin_is_refused_in_one_line(tmp_path, run, words, said):
    code, _, err = run("nano", "train", tmp_path / "out", *words)
    assert code == 2
    assert err.startswith(f"error: {said}")
    assert len(err.splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_a_run_of_another_recipe_is_refused(tmp_path, run):
    (tmp_path / "recipe.json").write_text('{"steps": 1}')
    code, _, err = run("nano", "train", tmp_path, "--steps", 2)
    assert code == 2
    assert "holds a run with" in err


def test_scoring_needs_a_trained_arm(tmp_path, run):
    code, _, err = run("nano", "score", tmp_path)
    assert code == 2
    assert "holds no trained arm" in err
