"""A whole ablation at toy size: files, figures, table and chart; what is there is not made again."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from sdvlm.ablation.cells import CELLS, choose
from sdvlm.ablation.chart import draw
from sdvlm.ablation.config import AblationConfig
from sdvlm.ablation.exam import asked_questions, exam_factors, sit
from sdvlm.ablation.materials import open_materials, plain_model
from sdvlm.ablation.run import ablate
from sdvlm.ablation.run_cell import fresh_learner
from sdvlm.ablation.store import read_json
from sdvlm.ablation.table import markdown
from sdvlm.data.schema import AnswerKind
from sdvlm.eval.scoring import delta_ratio
from sdvlm.types import SdvlmError

ONLY = ("dpe_noise_0.3",)


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory, small_folder: Path, toy: AblationConfig) -> Path:
    out = tmp_path_factory.mktemp("ablation")
    ablate(out, toy, only=ONLY, model=small_folder, cost_turns=1)
    return out


def made_at(out: Path) -> dict[str, int]:
    return {str(path): path.stat().st_mtime_ns for path in out.rglob("*") if path.is_file()}


def test_an_ablation_leaves_figures_of_each_cell(done: Path, toy: AblationConfig) -> None:
    document = read_json(done / "ablation.json")
    assert document is not None
    rows = {row["cell"]: row for row in document["cells"]}
    assert set(rows) == {"none", *ONLY}
    assert "withheld" not in rows["none"]
    for row in rows.values():
        assert 0 <= row["scaled"]["mean"] <= 1
        assert row["cost"]["ratio"] > 0
    assert rows["none"]["cost"]["ratio"] == 1
    low, high = rows[ONLY[0]]["scaled"]["over_none"]["macro"]["interval"]
    assert low <= high
    assert document["questions"] == sum(row["asked"] for row in [{"asked": document["questions"]}])
    assert (done / "ablation.md").read_text() == markdown(document)
    draw(document, done / "ablation.png")
    assert (done / "ablation.png").read_bytes().startswith(b"\x89PNG")


def test_the_same_command_makes_nothing_again_and_more_seeds_add_cells(
    done: Path, small_folder: Path, toy: AblationConfig
) -> None:
    before = made_at(done)
    ablate(done, toy, only=ONLY, model=small_folder, cost_turns=1)
    after = made_at(done)
    changed = {Path(path).name for path in after if after[path] != before.get(path)}
    assert changed == {"ablation.json", "ablation.md"}
    result = ablate(done, replace(toy, seeds=2), only=["none"], model=small_folder, cost_turns=1)
    assert result.document["cells"][0]["seeds"] == 2
    assert {path.name for path in (done / "cells").iterdir()} == {
        "none-seed-0.json", "none-seed-1.json", "dpe_noise_0.3-seed-0.json",
    }  # fmt: skip


def test_a_run_cut_short_gives_the_same_answers(done: Path, small_folder: Path, toy: AblationConfig) -> None:
    path = done / "cells" / "dpe_noise_0.3-seed-0.json"
    first = read_json(path)
    path.write_text(path.read_text()[:100])  # as a foreign tool might leave it; we leave none or all
    ablate(done, toy, only=ONLY, model=small_folder, cost_turns=1)
    second = read_json(path)
    assert first is not None
    assert second is not None
    for name in ("loss", "arms", "stamp"):
        assert first[name] == second[name]


def test_other_settings_need_another_folder(done: Path, small_folder: Path, toy: AblationConfig) -> None:
    with pytest.raises(SdvlmError, match=r"steps 3 there, 4 here"):
        ablate(done, replace(toy, steps=4), only=ONLY, model=small_folder)


def test_every_cell_begins_at_the_same_weights_with_its_tower_untouched(
    done: Path, small_folder: Path, toy: AblationConfig
) -> None:
    materials = open_materials(done, toy, small_folder)
    base = load_file(done / "base.safetensors")
    plain, _ = plain_model(small_folder)
    tower = {name: value for name, value in plain.vlm.state_dict().items() if "vision_tower" in name}
    assert tower
    assert all(torch.equal(base[name], value) for name, value in tower.items())
    for cell in choose(["dpe", "mlp"], {}):
        learner = fresh_learner(materials, cell, 0)
        learner.maker.restore()
        state = learner.maker.model.vlm.state_dict()
        assert all(torch.equal(state[name], value) for name, value in base.items())
        learned = {id(parameter) for parameter in learner.parameters}
        assert not any(id(p) in learned for p in learner.maker.model.vlm.model.vision_tower.parameters())


def test_the_scaled_exam_asks_the_same_questions_of_a_world_of_another_size(
    done: Path, small_folder: Path, toy: AblationConfig
) -> None:
    materials = open_materials(done, toy, small_folder)
    rooms, scaled = (asked_questions(toy, materials.exam, arm) for arm in ("rooms", "scaled"))
    factors = exam_factors(toy, len(materials.exam))
    for plain, other, factor in zip(rooms, scaled, factors, strict=True):
        assert len(plain) == len(other)
        for (one, by), (two, by_two) in zip(plain, other, strict=True):
            assert (by, by_two) == (1.0, factor)
            assert one.type is two.type
            if one.answer_typed.kind is AnswerKind.LENGTH:
                assert delta_ratio(*one.answer_typed.numbers, *two.answer_typed.numbers) >= 1.25
    assert all(1.3 <= delta_ratio(factor, 1) <= 1.7 for factor in factors)


def test_a_model_that_always_knows_is_always_right(
    done: Path, small_folder: Path, toy: AblationConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sdvlm.ablation import exam as module
    from sdvlm.models.prefix import Answer

    materials = open_materials(done, toy, small_folder)
    for arm in ("rooms", "scaled"):
        truths = iter([[one.answer for one, _ in asked] for asked in asked_questions(toy, materials.exam, arm)])
        monkeypatch.setattr(module, "answer_questions", lambda *a, t=truths, **k: [Answer(x, ()) for x in next(t)])
        sitting = sit(*plain_model(small_folder), materials.exam, None, arm, toy)
        assert all(sitting.right)
        assert len(sitting.right) == sum(map(len, materials.exam.questions))


def test_cells_are_chosen_by_name_and_need_their_encoders() -> None:
    assert [cell.name for cell in choose(["mlp"], {})] == ["none", "mlp"]
    assert [cell.name for cell in choose(None, {})] == [cell.name for cell in CELLS]
    assert "concat_10" in [cell.name for cell in choose(None, {10: Path("x")})]
    with pytest.raises(SdvlmError, match="needs --encoder-100"):
        choose(["concat_100"], {})
    with pytest.raises(SdvlmError, match="no cell 'magic'"):
        choose(["magic"], {})


def test_settings_come_from_text_by_type() -> None:
    config = AblationConfig().with_settings({"steps": "7", "lr": "0.1"})
    assert (config.steps, config.lr) == (7, 0.1)
    for given, said in (({"stepz": "7"}, "no ablation setting 'stepz'"), ({"steps": "many"}, "of type int")):
        with pytest.raises(SdvlmError, match=said):
            AblationConfig().with_settings(given)
    for wrong in ({"dropout": 2.0}, {"questions": 3}, {"dtype": "int8"}, {"smallest_test_scale": 2.0}, {"steps": 0}):
        with pytest.raises(SdvlmError):
            AblationConfig(**wrong)
