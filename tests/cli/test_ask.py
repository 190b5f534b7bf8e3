"""``sdvlm ask`` end to end on a tiny random model: what it prints, and one line for everything that can be wrong."""

import json
import shutil
from html import escape
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import sdvlm
from sdvlm.answering import NANO_NOTE

REAL = Path(__file__).parents[2] / ".." / "shared" / "data" / "real_rgbd"
QUESTION = "How far is the chair from the camera?"


def first_of_each_source():
    index = REAL / "index.jsonl"
    if not index.is_file():
        return [pytest.param(None, marks=pytest.mark.skip(reason="the real RGB-D frames are not beside this checkout"))]
    samples = [json.loads(line) for line in index.read_text(encoding="utf-8").splitlines()]
    firsts = {sample["source"]: sample for sample in reversed(samples)}
    return [pytest.param(sample, id=source) for source, sample in firsts.items()]


def test_answers_are_those_of_the_library_and_facts_are_those_of_the_files(run_json, tiny_folder, photo, depth_mm):
    document = run_json(
        "ask", photo, QUESTION, "Is it red?", "--depth", depth_mm, "--camera", "40,41,23.5,17.5",
        "--model", tiny_folder, "--max-new-tokens", 6,
    )  # fmt: skip
    model, processor = sdvlm.load_model(str(tiny_folder))
    frame = sdvlm.load_rgbd(photo, depth_mm, "40,41,23.5,17.5")
    told = sdvlm.answer_questions(model, processor, frame, [QUESTION, "Is it red?"], max_new_tokens=6)
    assert [one["answer"] for one in document["answers"]] == [one.text for one in told]
    assert [one["question"] for one in document["answers"]] == [QUESTION, "Is it red?"]
    stored = np.asarray(Image.open(depth_mm)) / 1000
    assert document["depth"]["kind"] == "metric"
    assert document["depth"]["valid"] == pytest.approx(35 / 36, abs=1e-4)
    assert document["depth"]["min_m"] == pytest.approx(stored[stored > 0].min(), abs=1e-3)
    assert document["depth"]["max_m"] == pytest.approx(stored.max(), abs=1e-3)
    assert document["image"] == {"path": str(photo), "width": 48, "height": 36}
    given = {"fx": 40, "fy": 41, "cx": 23.5, "cy": 17.5}
    assert {name: document["camera"][name] for name in given} == given
    assert document["notes"] == []


def test_without_depth_there_is_a_note_and_no_depth_in_the_document(run_json, tiny_folder, photo):
    document = run_json("ask", photo, QUESTION, "--model", tiny_folder, "--max-new-tokens", 2)
    assert document["depth"] is None
    assert document["camera"] is None
    assert [note for note in document["notes"] if note.startswith("without depth")]


def test_a_field_of_view_is_a_camera_and_its_absence_is_noted(run_json, tiny_folder, photo, depth_mm):
    arguments = ("ask", photo, QUESTION, "--depth", depth_mm, "--model", tiny_folder, "--max-new-tokens", 2)
    assert [note for note in run_json(*arguments)["notes"] if note.startswith("without a camera")]
    document = run_json(*arguments, "--fov", 90)
    assert document["camera"]["fx"] == pytest.approx(24)  # half the width over tan 45 degrees
    assert document["camera"]["fov_x_deg"] == pytest.approx(90)
    assert document["notes"] == []


def test_depth_changes_what_a_model_with_depth_says(run_json, tiny_folder, photo, depth_mm):
    asked = ("ask", photo, QUESTION, "--model", tiny_folder, "--max-new-tokens", 8)
    blind, seeing = run_json(*asked), run_json(*asked, "--depth", depth_mm, "--fov", 60)
    assert blind["answers"][0]["answer"] != seeing["answers"][0]["answer"]


def test_plain_output_holds_questions_with_answers_and_notes_go_to_stderr(run, tiny_folder, photo):
    code, out, err = run("ask", photo, QUESTION, "Is it red?", "--model", tiny_folder, "--max-new-tokens", 2)
    assert code == 0
    assert out.splitlines()[0::2] == [QUESTION, "Is it red?"]
    assert "note: without depth" in err
    assert "note" not in out


def test_the_page_holds_question_and_answer_and_needs_no_other_file(run_json, tiny_folder, photo, depth_mm, tmp_path):
    page = tmp_path / "pages" / "answers.html"
    document = run_json(
        "ask", photo, "Is 1 < 2?", "--depth", depth_mm, "--page", page, "--model", tiny_folder, "--max-new-tokens", 3
    )
    html = page.read_text(encoding="utf-8")
    assert "Is 1 &lt; 2?" in html
    assert html.count("data:image/") == 2
    assert escape(document["answers"][0]["answer"] or "(nothing)") in html


def test_nano_answers_carry_the_warning_about_photographs(tiny_folder, photo, run_json, monkeypatch):
    monkeypatch.setattr("sdvlm.answering.load_model", lambda model, device: load_tiny(tiny_folder))
    assert NANO_NOTE in run_json("ask", photo, QUESTION, "--max-new-tokens", 2)["notes"]


def load_tiny(folder):
    return sdvlm.DepthVLM.from_pretrained(folder), sdvlm.DepthProcessor.from_pretrained(folder)


def test_a_plain_model_answers_without_depth_and_refuses_it_with_the_fix(
    run, run_json, tiny_folder, photo, depth_mm, tmp_path
):
    folder = tmp_path / "plain"
    model, processor = load_tiny(tiny_folder)
    model.vlm.save_pretrained(folder)
    processor.processor.save_pretrained(folder)
    arguments = ("ask", photo, QUESTION, "--model", folder, "--max-new-tokens", 4)
    told = run_json(*arguments)["answers"][0]["answer"]
    assert (
        told == run_json("ask", photo, QUESTION, "--model", tiny_folder, "--max-new-tokens", 4)["answers"][0]["answer"]
    )
    code, _, err = run(*arguments, "--depth", depth_mm)
    assert code == 2
    assert "no fusion" in err


@pytest.mark.parametrize("sample", first_of_each_source())
def test_every_real_source_loads_aligns_and_answers(run_json, tiny_folder, sample):
    folder = REAL / sample["dir"]
    meta = json.loads((folder / "meta.json").read_text(encoding="utf-8"))
    camera = ",".join(str(meta["intrinsics"][name]) for name in ("fx", "fy", "cx", "cy"))
    depth = folder / ("depth.png" if (folder / "depth.png").is_file() else "sparse_depth.json")
    document = run_json(
        "ask", folder / "rgb.jpg", QUESTION, "How many chairs?", "--depth", depth, "--camera", camera,
        "--model", tiny_folder, "--max-new-tokens", 2,
    )  # fmt: skip
    assert len(document["answers"]) == 2
    assert (document["image"]["width"], document["image"]["height"]) == (meta["width"], meta["height"])
    assert 0 < document["depth"]["min_m"] < document["depth"]["max_m"]
    if meta.get("depth_valid_fraction") is not None:
        assert document["depth"]["valid"] == pytest.approx(meta["depth_valid_fraction"], abs=2e-3)
    else:
        points = np.array(json.loads(depth.read_text(encoding="utf-8")))
        assert document["depth"]["min_m"] == pytest.approx(points[:, 2].min(), abs=2e-3)


class TestBadInput:
    """Exit code 2, one line that says what was seen and what to do, nothing on stdout."""

    @pytest.fixture
    def refused(self, run, tiny_folder):
        def call(*arguments, model=None):
            code, out, err = run("ask", *arguments, "--model", model or tiny_folder, "--json")
            assert (code, out) == (2, ""), err
            assert err.startswith("error: ")
            assert err.count("\n") == 1
            assert "Traceback" not in err
            return err

        return call

    def test_a_missing_image(self, refused, tmp_path):
        assert "nothing.jpg: no such file" in refused(tmp_path / "nothing.jpg", QUESTION)

    def test_a_damaged_image(self, refused, photo):
        photo.write_bytes(photo.read_bytes()[:-400])
        assert "damaged or cut short" in refused(photo, QUESTION)

    def test_a_file_that_is_no_image(self, refused, tmp_path):
        path = tmp_path / "text.jpg"
        path.write_text("hello")
        assert "no picture" in refused(path, QUESTION)

    def test_a_missing_depth_file_is_not_taken_for_an_estimator(self, refused, photo, tmp_path):
        assert "gone.png: no such file" in refused(photo, QUESTION, "--depth", tmp_path / "gone.png")

    def test_depth_of_another_size_says_both_sizes_and_resizes_on_request(
        self, refused, run_json, photo, tiny_folder, tmp_path
    ):
        small = tmp_path / "small.png"
        Image.fromarray(np.full((18, 24), 1500, dtype=np.uint16)).save(small)
        err = refused(photo, QUESTION, "--depth", small)
        assert "24x18" in err
        assert "48x36" in err
        assert "--resize-depth" in err
        arguments = ("--resize-depth", "--model", tiny_folder, "--max-new-tokens", 1)
        assert run_json("ask", photo, QUESTION, "--depth", small, *arguments)["depth"]["max_m"] == 1.5

    def test_a_disparity_file_given_as_metric(self, refused, photo, tmp_path):
        path = tmp_path / "disparity.png"
        ramp = np.linspace(0, 65535, 48 * 36).reshape(36, 48).astype(np.uint16)
        Image.fromarray(ramp).save(path)
        assert "--depth-kind disparity" in refused(photo, QUESTION, "--depth", path)

    def test_a_disparity_map_for_a_model_that_needs_metres(self, refused, photo, tmp_path):
        path = tmp_path / "disparity.npy"
        np.save(path, np.linspace(0.1, 0.9, 48 * 36, dtype=np.float32).reshape(36, 48))
        err = refused(photo, QUESTION, "--depth", path, "--depth-kind", "disparity")
        assert "disparity" in err
        assert "metric" in err

    def test_depth_without_any_valid_pixel(self, refused, photo, tmp_path):
        path = tmp_path / "empty.png"
        Image.fromarray(np.zeros((36, 48), dtype=np.uint16)).save(path)
        assert "0 valid pixels" in refused(photo, QUESTION, "--depth", path)

    @pytest.mark.parametrize(
        ("camera", "said"),
        [
            ("500,500,320,240", "outside the 48x36 image"),
            ("4,4,24,18", "fx=4 for a 48x36 image"),
            ("40,40,24", "has 3 numbers"),
            ("a,b,c,d", "not numbers"),
            ("-40,40,24,18", "must be positive"),
        ],
    )
    def test_a_camera_that_does_not_fit(self, refused, photo, camera, said):
        assert said in refused(photo, QUESTION, f"--camera={camera}")

    def test_an_impossible_field_of_view(self, refused, photo):
        assert "between 0 and 180" in refused(photo, QUESTION, "--fov", 200)

    def test_camera_and_field_of_view_together(self, refused, photo):
        assert "--camera and --fov" in refused(photo, QUESTION, "--fov", 60, "--camera", "40,40,24,18")

    def test_an_unknown_model_folder(self, refused, photo, tmp_path):
        assert "no model folder" in refused(photo, QUESTION, model=tmp_path / "nowhere")

    def test_a_mistyped_name_in_a_folder_is_not_looked_for_on_the_hub(self, refused, photo, tmp_path, monkeypatch):
        (tmp_path / "runs").mkdir()
        monkeypatch.chdir(tmp_path)
        assert "there is a folder 'runs'" in refused(photo, QUESTION, model="runs/nano2")

    def test_a_folder_without_a_model(self, refused, photo, tmp_path):
        assert "config.json" in refused(photo, QUESTION, model=tmp_path)

    def test_a_truncated_checkpoint(self, refused, photo, tiny_folder, tmp_path):
        folder = tmp_path / "cut"
        shutil.copytree(tiny_folder, folder)
        weights = folder / "model.safetensors"
        weights.write_bytes(weights.read_bytes()[: weights.stat().st_size // 2])
        assert "damaged or cut short" in refused(photo, QUESTION, model=folder)

    def test_an_empty_question(self, refused, photo):
        assert "question 2 is empty" in refused(photo, QUESTION, "  ")

    def test_an_estimator_that_is_not_there(self, refused, photo):
        assert "unknown estimator 'radar'" in refused(photo, QUESTION, "--depth", "radar")

    def test_options_for_depth_files_with_an_estimator(self, refused, photo):
        assert "--depth-scale" in refused(photo, QUESTION, "--depth", "depth-pro", "--depth-scale", 0.001)

    def test_a_device_that_is_not_there(self, refused, photo):
        assert "device" in refused(photo, QUESTION, "--device", "cuda:77")

    def test_no_room_for_an_answer(self, refused, photo):
        assert "max-new-tokens" in refused(photo, QUESTION, "--max-new-tokens", 0)


ESTIMATOR = '''
import numpy as np
from sdvlm.depth.estimator import DepthEstimate
from sdvlm.types import Camera, DepthKind, DepthMap

class Flat:
    """Says that everything is 2 m away, seen through a camera of 90 degrees."""
    id, licence, kind, calls = "flat", "none", DepthKind.METRIC, 0

    def estimate(self, images, cameras=None):
        Flat.calls += 1
        height, width = images[0].shape[:2]
        given = cameras[0] if cameras else None
        depth = DepthMap(np.full((height, width), 2.0), source=self.id)
        return [DepthEstimate(depth, given or Camera.from_fov(width, height, 90), camera_estimated=given is None)]
'''


@pytest.fixture
def estimator(tmp_path, monkeypatch):
    (tmp_path / "flat_estimator.py").write_text(ESTIMATOR)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("SDVLM_CACHE", str(tmp_path / "cache"))
    return "flat_estimator:Flat"


def test_an_estimator_gives_depth_and_camera_and_is_asked_once_a_picture(run_json, tiny_folder, photo, estimator):
    asked = ("ask", photo, QUESTION, "--depth", estimator, "--model", tiny_folder, "--max-new-tokens", 1)
    first, second = run_json(*asked), run_json(*asked)
    assert first == second
    assert first["depth"] == {"source": "flat", "kind": "metric", "valid": 1.0, "min_m": 2.0, "max_m": 2.0}
    assert first["camera"]["fx"] == pytest.approx(24)
    import flat_estimator

    assert flat_estimator.Flat.calls == 1


def test_a_camera_that_is_given_wins_over_the_one_an_estimator_works_out(run_json, tiny_folder, photo, estimator):
    document = run_json(
        "ask", photo, QUESTION, "--depth", estimator, "--fov", 60, "--model", tiny_folder, "--max-new-tokens", 1
    )
    assert document["camera"]["fov_x_deg"] == pytest.approx(60)
