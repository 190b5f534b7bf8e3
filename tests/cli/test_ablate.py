"""``sdvlm ablate``: what it refuses, and a toy run from the command line."""

import json

TOY = {
    "train_rooms": 2, "frames_per_room": 2, "questions_per_frame": 12, "test_questions": 8, "base_steps": 1,
    "estimator_steps": 2,
}  # fmt: skip


def test_a_toy_ablation_prints_the_table_and_then_the_document(run, tmp_path, tiny_folder):
    out = tmp_path / "out"
    settings = [word for name, value in TOY.items() for word in ("--set", f"{name}={value}")]
    given = [
        "ablate", out, "--only", "mlp", "--seeds", 1, "--steps", 2, "--pictures", 2, "--questions", 2, "--model",
        tiny_folder, "--dtype", "float32", "--cost-turns", 0, *settings,
    ]  # fmt: skip
    code, table, err = run(*given)
    assert code == 0, err
    assert "| no depth |" in table
    assert "| MLP on the code |" in table
    assert (out / "ablation.png").exists()
    code, text, _ = run(*given, "--json")
    document = json.loads(text)
    assert code == 0
    assert [row["cell"] for row in document["cells"]] == ["none", "mlp"]
    assert document["failed"] == {}


def test_bad_input_is_one_line_and_code_2(run, tmp_path):
    for words, said in (
        (["--only", "magic"], "no cell 'magic'"),
        (["--set", "steps"], "FIELD=VALUE"),
        (["--set", "magic=1"], "no ablation setting 'magic'"),
        (["--encoder-10", tmp_path / "none"], "no encoder folder"),
        (["--dtype", "int4"], "bfloat16 or float32"),
    ):
        code, _, err = run("ablate", tmp_path / "out", *words)
        assert code == 2
        assert said in err
        assert len(err.strip().splitlines()) == 1
