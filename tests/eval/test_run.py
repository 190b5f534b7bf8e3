"""Every question is asked once, behind one reading of its picture, and an interrupted run ends like any other."""

import io
import json
from dataclasses import dataclass, field

import numpy as np
import pytest
import torch
from PIL import Image
from tests.tiny_nano import TINY

from sdvlm.data.msmu import MsmuRow
from sdvlm.data.schema import QuestionType
from sdvlm.depth.cache import DepthCache
from sdvlm.depth.estimator import DepthEstimate
from sdvlm.eval import run as run_module
from sdvlm.eval.run import run_msmu
from sdvlm.eval.run_asker import Asker, DepthSource
from sdvlm.eval.run_source import MsmuSource
from sdvlm.models.prefix import answer_questions
from sdvlm.models.processor import DepthProcessor
from sdvlm.models.wrapper import DepthVLM
from sdvlm.nano.config import build_processor, build_vlm
from sdvlm.nano.tokenizer import train_tokenizer
from sdvlm.types import DepthKind, DepthMap, RgbdFrame, SdvlmError

QUESTIONS = ["How far is the chair?", "How many lamps are there?", "Is the bed to the left of the chair?"]
TYPES = [QuestionType.ABSOLUTE_DISTANCE, QuestionType.COUNT, QuestionType.RELATIVE_POSITION]
REFERENCES = ["1.25 m", "2.", "Yes, it is."]


@pytest.fixture(scope="module")
def model():
    """A random model of the nano kind, to which depth matters."""
    tokenizer = train_tokenizer(["How far is the chair? 1.25 m", "yes no left right (0.5,0.5)"] * 3, vocab_size=300)
    torch.manual_seed(0)
    vlm = build_vlm(TINY, tokenizer)
    made = DepthVLM.from_vlm(vlm, fusion=TINY.fusion).eval()
    for parameter in made.parameters():
        if parameter.ndim > 1:
            torch.nn.init.normal_(parameter, std=0.3)
    return made, DepthProcessor.for_model(made, build_processor(TINY, tokenizer))


def picture(seed, size=(40, 30)):
    image = np.random.default_rng(seed).integers(0, 255, (size[1], size[0], 3)).astype(np.uint8)
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, "PNG")
    return stream.getvalue()


def msmu_rows(pictures=3):
    """Rows in the worst order: all pictures once, then all again, ..."""
    return [
        MsmuRow(
            number=pictures * turn + index,
            picture=picture(index, (40 + 4 * index, 30)),
            question=question,
            answer=REFERENCES[turn],
            type=TYPES[turn],
            image_id=f"picture-{index}",
            raw_question=f"<image>\n{question}",
            raw_type=TYPES[turn].value,
            turns=(),
        )
        for turn, question in enumerate(QUESTIONS)
        for index in range(pictures)
    ]


@dataclass
class Ramp:
    """An estimator: depth grows from left to right, more in brighter pictures. Counts what it is asked."""

    id: str = "ramp"
    licence: str = "none"
    kind: DepthKind = DepthKind.METRIC
    uses_camera: bool = False
    seen: list = field(default_factory=list)

    def estimate(self, images, cameras=None):
        self.seen += [image.shape for image in images]
        return [
            DepthEstimate(
                DepthMap(np.linspace(0.5, image.mean() / 20, image.shape[1])[None].repeat(len(image), 0), self.kind)
            )
            for image in images
        ]


def asker(model, tmp_path, **settings):
    depth = DepthSource("estimator", Ramp(), DepthCache(tmp_path / "cache"))
    return Asker(*model, depth, **{"max_new_tokens": 6, **settings})


def lines(folder):
    return [json.loads(line) for line in (folder / "answers.jsonl").read_text().splitlines()]


def untimed(folder):
    return [{key: value for key, value in one.items() if key != "seconds"} for one in lines(folder)]


def test_answers_are_those_of_asking_each_picture_by_hand_and_come_in_the_order_of_the_data(model, tmp_path):
    rows = msmu_rows()
    asking = asker(model, tmp_path)
    summary = run_msmu(rows, asking, tmp_path / "run")
    assert (summary.rows, summary.pictures, summary.answered) == (9, 3, 9)
    records = lines(tmp_path / "run")
    assert [one["number"] for one in records] == list(range(9))
    for index in range(3):
        image = rows[index].image()
        frame = RgbdFrame(image, Ramp().estimate([image])[0].depth)
        wanted = answer_questions(*model, frame, QUESTIONS, max_new_tokens=6)
        got = records[index::3]
        assert [one["token_ids"] for one in got] == [list(answer.token_ids) for answer in wanted]
        assert [one["answer"] for one in got] == [answer.text for answer in wanted]
        assert [one["question"] for one in got] == QUESTIONS
        assert all(one["prompt"] == model[1].question_prompt(one["question"]) for one in got)
    assert len({tuple(one["token_ids"]) for one in records}) > 1


def test_each_picture_is_read_and_its_depth_estimated_once_however_its_rows_lie(model, tmp_path):
    asking = asker(model, tmp_path)
    looks = []
    hook = model[0].vlm.base_model.vision_tower.register_forward_hook(lambda *_: looks.append(1))
    run_msmu(msmu_rows(), asking, tmp_path / "run")
    hook.remove()
    assert len(looks) == len(asking.depth.estimator.seen) == 3


def test_an_interrupted_run_asks_only_what_is_left_and_ends_like_an_uninterrupted_one(model, tmp_path, monkeypatch):
    run_msmu(msmu_rows(), asker(model, tmp_path), tmp_path / "whole", controls=True)
    asked = []
    ask = Asker.ask

    def failing(self, frame, depth, rows):
        asked.append([row.number for row in rows])
        if len(asked) == 5:
            raise KeyboardInterrupt
        return ask(self, frame, depth, rows)

    monkeypatch.setattr(Asker, "ask", failing)
    with pytest.raises(KeyboardInterrupt):
        run_msmu(msmu_rows(), asker(model, tmp_path), tmp_path / "cut", controls=True)
    assert json.loads((tmp_path / "cut" / "run.json").read_text())["status"] == "running"
    torn = tmp_path / "cut" / "answers.jsonl"
    last = json.loads(torn.read_bytes().splitlines()[-1])["number"]
    torn.write_bytes(torn.read_bytes()[:-25])  # killed in the middle of a line
    summary = run_msmu(msmu_rows(), asker(model, tmp_path), tmp_path / "cut", controls=True)
    for arm in ("", "depth-off", "depth-shuffled"):
        assert untimed(tmp_path / "cut" / arm) == untimed(tmp_path / "whole" / arm)
        for name in ("scores.json", "preds.json"):
            assert (tmp_path / "cut" / arm / name).read_text() == (tmp_path / "whole" / arm / name).read_text()
    assert asked[5] == [last]
    log = json.loads((tmp_path / "cut" / "run.json").read_text())
    assert log["status"] == "complete"
    assert [session["ended"] is None for session in log["sessions"]] == [True, False]
    assert summary.answered == sum(map(len, asked[5:]))
    before = len(asked)
    assert run_msmu(msmu_rows(), asker(model, tmp_path), tmp_path / "cut", controls=True).answered == 0
    assert len(asked) == before


def test_the_controls_take_depth_away_and_from_the_picture_before(model, tmp_path):
    rows, asking = msmu_rows(), asker(model, tmp_path)
    run_msmu(rows, asking, tmp_path / "run", controls=True)
    images = [row.image() for row in rows[:3]]
    depths = [one.depth for one in Ramp().estimate(images)]
    for index, image in enumerate(images):
        other = asking.fitted(depths[index - 1], RgbdFrame(image))
        assert other.size == RgbdFrame(image).size
        for arm, depth in (("depth-off", None), ("depth-shuffled", other)):
            wanted = answer_questions(*model, RgbdFrame(image, depth), QUESTIONS, max_new_tokens=6)
            got = lines(tmp_path / "run" / arm)[index::3]
            assert [one["token_ids"] for one in got] == [list(answer.token_ids) for answer in wanted]
    arms = [untimed(tmp_path / "run" / arm) for arm in ("", "depth-off", "depth-shuffled")]
    assert arms[0] != arms[1] != arms[2] != arms[0]  # depth matters to this model


def test_controls_that_would_control_nothing_are_refused(model, tmp_path):
    with pytest.raises(SdvlmError, match="only one picture"):
        run_msmu(msmu_rows(1), asker(model, tmp_path), tmp_path / "run", controls=True)
    with pytest.raises(SdvlmError, match="no depth"):
        run_msmu(msmu_rows(), Asker(*model), tmp_path / "run", controls=True)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"max_new_tokens": 7}, "max_new_tokens was 6, now 7"),
        ({"depth": DepthSource("none")}, "depth.source was 'estimator', now 'none'"),
    ],
)
def test_a_run_is_not_continued_with_other_settings_and_the_line_names_them(model, tmp_path, change, said):
    run_msmu(msmu_rows(), asker(model, tmp_path), tmp_path / "run")
    before = (tmp_path / "run" / "run.json").read_text()
    settings = {"max_new_tokens": 6, "depth": asker(model, tmp_path).depth} | change
    with pytest.raises(SdvlmError, match=said) as error:
        run_msmu(msmu_rows(), Asker(*model, **settings), tmp_path / "run")
    assert "\n" not in str(error.value)
    assert (tmp_path / "run" / "run.json").read_text() == before


def test_other_data_and_other_weights_are_other_settings(model, tmp_path):
    run_msmu(msmu_rows(), asker(model, tmp_path), tmp_path / "run")
    with pytest.raises(SdvlmError, match="data_fingerprint"):
        run_msmu(msmu_rows()[:-1] + msmu_rows()[:1], asker(model, tmp_path), tmp_path / "run")
    weight = next(parameter for parameter in model[0].parameters() if parameter.ndim > 1)
    kept = weight.detach().clone()
    with torch.no_grad():
        weight.add_(0.001)
    with pytest.raises(SdvlmError, match="weights_digest"):
        run_msmu(msmu_rows(), asker(model, tmp_path), tmp_path / "run")
    with torch.no_grad():
        weight.copy_(kept)
    assert run_msmu(msmu_rows(), asker(model, tmp_path, batch_size=1), tmp_path / "run").answered == 0


def test_answers_of_unknown_origin_are_not_continued(model, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "answers.jsonl").write_text('{"number": 0}\n')
    with pytest.raises(SdvlmError, match=r"no run\.json"):
        run_msmu(msmu_rows(), asker(model, tmp_path), tmp_path / "run")


def test_a_run_that_failed_before_its_first_answer_binds_nobody(model, tmp_path):
    wrong = DepthSource("estimator", Ramp("relative", kind=DepthKind.DISPARITY), DepthCache(tmp_path / "cache"))
    with pytest.raises(SdvlmError, match="disparity"):
        run_msmu(msmu_rows(), Asker(*model, wrong), tmp_path / "run")
    assert (tmp_path / "run" / "run.json").is_file()
    assert run_msmu(msmu_rows(), asker(model, tmp_path), tmp_path / "run").answered == 9


def test_the_predictions_are_in_the_layout_of_the_released_inference_script(model, tmp_path):
    run_msmu(msmu_rows(), asker(model, tmp_path), tmp_path / "run", name="org/model")
    header, *rows = [json.loads(line) for line in (tmp_path / "run" / "preds.json").read_text().splitlines()]
    assert header == {"model": "org/model"}
    assert [set(row) for row in rows] == [{"question", "pred", "gt", "type"}] * 9
    assert [row["question"] for row in rows] == [row.raw_question for row in msmu_rows()]
    assert {row["type"] for row in rows} <= set(QuestionType)


def test_the_log_says_all_that_is_needed_to_do_it_again(model, tmp_path):
    run_msmu(msmu_rows(), asker(model, tmp_path), tmp_path / "run", name="org/model")
    log = json.loads((tmp_path / "run" / "run.json").read_text())
    assert log["settings"]["depth"] == {"source": "estimator", "estimator": "ramp", "revision": ""}
    assert log["settings"]["first_prompt"] == model[1].question_prompt(QUESTIONS[0])
    assert log["data"]["rows"] == 9
    assert log["data"]["broken"] == 0
    assert log["model"]["name"] == "org/model"
    (session,) = log["sessions"]
    assert {"python", "sdvlm", "torch", "transformers", "numpy"} <= set(session["versions"])
    assert {"cpu", "gpu", "torch_threads"} <= set(session["hardware"])
    assert session["answered"] == 9
    assert session["started"] <= session["ended"]


def test_without_a_template_the_published_question_is_the_prompt(model, tmp_path):
    plain = model[1].with_options(conversation="none")
    run_msmu(msmu_rows(), Asker(model[0], plain, max_new_tokens=2), tmp_path / "run")
    mark = plain.processor.image_token
    assert lines(tmp_path / "run")[0]["prompt"] == f"<image>\n{QUESTIONS[0]}".replace("<image>", mark)
    with pytest.raises(SdvlmError, match="conversation was 'none', now 'chat'"):
        run_msmu(msmu_rows(), Asker(*model, max_new_tokens=2), tmp_path / "run")


def test_data_without_rows_is_refused():
    with pytest.raises(SdvlmError, match="no row to ask"):
        MsmuSource(lambda: iter(()))


def test_auto_takes_no_depth_where_none_can_be_had_or_taken(model):
    assert DepthSource.choose("auto", model[1]).name == "none"
    blind = DepthVLM.from_vlm(model[0].vlm, fusion=None)
    assert DepthSource.choose("auto", DepthProcessor.for_model(blind, model[1].processor), in_data=True).name == "none"
    assert run_module.OFF in run_module.CONTROLS
