"""The model a run starts from: plain or with depth, from a folder, with the fusion that is asked for."""

from __future__ import annotations

import json
import shutil

import pytest
import torch

from sdvlm.models.adapters import add_lora
from sdvlm.models.processor import DepthProcessor
from sdvlm.models.run_folder import Base, save_run
from sdvlm.models.wrapper import DepthVLM
from sdvlm.train.config import TrainConfig
from sdvlm.train.start import start_model
from sdvlm.types import SdvlmError


@pytest.fixture(scope="module")
def with_depth(model_folders, tiny_families, tmp_path_factory):
    """A folder with a fusion that is not fresh."""
    torch.manual_seed(3)
    model = DepthVLM.from_vlm(model_folders["llava"], "gated")
    for one in model.fusion.parameters():
        torch.nn.init.normal_(one)
    folder = tmp_path_factory.mktemp("with_depth")
    model.save_pretrained(folder)
    DepthProcessor.for_model(model, tiny_families["llava"].processor).save_pretrained(folder)
    return folder


def started(model, **others):
    return start_model(TrainConfig(model=str(model), **others))


def test_a_plain_model_gets_a_new_fusion_and_keeps_its_weights(model_folders, tiny_families):
    for name, folder in model_folders.items():
        model, processor, base = started(folder, fusion="gated")
        assert model.config.fusion_settings.name == "gated"
        assert base == Base(str(folder), None)
        wanted = tiny_families[name].model.state_dict()
        assert all(torch.equal(one, wanted[key]) for key, one in model.vlm.state_dict().items())
        assert processor.fusion == model.config.fusion_settings


def test_a_fusion_may_be_given_by_its_fields_or_not_at_all(model_folders):
    fields = {"name": "dpe", "scale": 10.0, "relative_norm": 0.2}
    model, _, _ = started(model_folders["llava"], fusion=fields)
    assert (model.config.fusion_settings.scale, model.config.fusion_settings.relative_norm) == (10.0, 0.2)
    model, processor, _ = started(model_folders["llava"], fusion=None)
    assert model.fusion is None
    assert processor.fusion is None


def test_a_model_with_depth_keeps_its_fusion_or_gets_another(with_depth):
    kept, _, _ = started(with_depth, fusion="keep")
    stored = DepthVLM.from_pretrained(with_depth)
    assert kept.config.fusion == stored.config.fusion
    assert all(torch.equal(one, stored.fusion.state_dict()[key]) for key, one in kept.fusion.state_dict().items())
    other, processor, _ = started(with_depth, fusion="pointmap")
    assert processor.fusion.name == other.config.fusion_settings.name == "pointmap"
    wanted = stored.vlm.state_dict()
    assert all(torch.equal(one, wanted[key]) for key, one in other.vlm.state_dict().items())


def test_the_nano_that_comes_along_can_be_gone_on_with():
    from sdvlm.nano import NANO_FOLDER

    model, processor, base = started(NANO_FOLDER, fusion="keep", dtype="float32")
    assert model.fusion is not None
    assert processor.fusion is not None
    assert base.model == str(NANO_FOLDER)
    assert {one.dtype for one in model.parameters()} == {torch.float32}


@pytest.mark.parametrize(
    ("dtype", "found"), [("float32", torch.float32), ("bfloat16", torch.bfloat16), ("auto", torch.float32)]
)
def test_the_dtype_is_as_asked(model_folders, dtype, found):
    if torch.cuda.is_available() and dtype == "auto":
        pytest.skip("with a GPU, as stored")
    model, _, _ = started(model_folders["qwen2.5-vl"], dtype=dtype, fusion="gated")
    assert {one.dtype for one in model.parameters()} == {found}


def test_what_cannot_be_started_from_is_one_line(model_folders, with_depth, tmp_path):
    run = tmp_path / "run"
    model, processor, base = started(model_folders["llava"])
    add_lora(model, 2, 4)
    save_run(run, model, processor, base)
    (tmp_path / "nothing").mkdir()
    damaged = shutil.copytree(model_folders["llava"], tmp_path / "damaged")
    (damaged / "model.safetensors").write_bytes(b"half")
    language = shutil.copytree(model_folders["llava"], tmp_path / "language")
    (language / "config.json").write_text(json.dumps({"model_type": "llama"}))
    plain = model_folders["llava"]
    for given, said in (
        ({"model": ""}, "no model to start from; give --model"),
        ({"model": tmp_path / "nothing"}, "nothing"),
        ({"model": tmp_path / "nowhere"}, "nowhere"),
        ({"model": damaged}, "damaged"),
        ({"model": language}, "language"),
        ({"model": run}, "make it a plain folder first: sdvlm merge"),
        ({"model": plain, "fusion": "keep"}, "has no fusion to keep; name one"),
        ({"model": plain, "fusion": "mystery"}, "no fusion 'mystery'; choose one of"),
        ({"model": plain, "fusion": {"name": "dpe", "scael": 3}}, "unknown fusion settings scael"),
        ({"model": plain, "fusion": {"name": "dpe", "scale": "big"}}, "fusion"),
        ({"model": plain, "fusion": "dpe", "depth_encoder": str(tmp_path)}, "have a depth encoder; leave it out"),
        ({"model": plain, "fusion": "concat", "depth_encoder": str(tmp_path / "none")}, "none"),
        ({"model": plain, "quantization": "4bit"}, "bitsandbytes"),
        ({"model": with_depth, "fusion": "keep", "quantization": "4bit"}, "for plain models"),
        ({"model": with_depth, "fusion": "keep", "depth_encoder": str(tmp_path)}, "depth_encoder"),
    ):
        with pytest.raises(SdvlmError) as told:
            started(**given)
        assert said in str(told.value)
        assert "\n" not in str(told.value)
