"""Official checkpoints in every form they come in, loaded whole or refused with the list of what does not fit."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import LlavaForConditionalGeneration

from sdvlm.models.official import is_official, load_official, load_official_depth, official_processor
from sdvlm.models.wrapper import DepthVLM
from sdvlm.types import SdvlmError

from .conftest import CLIP_CONFIG, TOWER, Make, clip_shapes, random_tensors, whole_state, write_files, write_weights

GOLDEN = Path(__file__).parents[4] / "shared" / "golden" / "sd_vlm_official"
recorded_only = pytest.mark.skipif(not GOLDEN.exists(), reason=f"the recorded outputs are not here: {GOLDEN}")


def same(first: Any, second: Any) -> bool:
    a, b = first.state_dict(), second.state_dict()
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def test_each_weight_lands_where_its_name_says(make: Make) -> None:
    state, vlm = whole_state(), load_official(make()).vlm
    found = vlm.state_dict()
    assert torch.equal(found["lm_head.weight"], state["lm_head.weight"])
    assert torch.equal(vlm.get_input_embeddings().weight, state["model.embed_tokens.weight"])
    layers = vlm.model.language_model.layers
    assert torch.equal(layers[1].mlp.up_proj.weight, state["model.layers.1.mlp.up_proj.weight"])
    assert torch.equal(layers[0].input_layernorm.weight, state["model.layers.0.input_layernorm.weight"])
    assert torch.equal(vlm.model.multi_modal_projector.linear_2.bias, state["model.mm_projector.2.bias"])
    clip = vlm.model.vision_tower
    assert torch.equal(clip.post_layernorm.weight, state[TOWER + "vision_model.post_layernorm.weight"])
    attention = state[TOWER + "vision_model.encoder.layers.2.self_attn.out_proj.weight"]
    assert torch.equal(clip.encoder.layers[2].self_attn.out_proj.weight, attention)


def test_what_no_file_holds_is_as_a_fresh_model_computes_it(make: Make) -> None:
    loaded = load_official(make()).vlm
    fresh = LlavaForConditionalGeneration(loaded.config)
    computed = dict(fresh.named_buffers())
    assert {name for name, _ in loaded.named_buffers()} == set(computed)
    assert "model.language_model.rotary_emb.inv_freq" in computed
    for name, buffer in loaded.named_buffers():
        assert buffer.dtype == computed[name].dtype
        assert torch.equal(buffer, computed[name]), name


@pytest.mark.parametrize(("shards", "suffix"), [(3, "safetensors"), (1, "bin"), (3, "bin")])
def test_shards_and_pytorch_files_hold_the_same_model(make: Make, shards: int, suffix: str) -> None:
    first, other = make("one"), make("other", shards=shards, suffix=suffix)
    assert same(load_official(first), load_official(other))
    assert same(load_official_depth(first).model, load_official_depth(other).model)


def test_a_file_of_before_zip_archives_loads_too(make: Make) -> None:
    folder = make(suffix="bin")
    state = torch.load(folder / "pytorch_model.bin", weights_only=True)
    torch.save(state, folder / "pytorch_model.bin", _use_new_zipfile_serialization=False)
    assert same(load_official(folder), load_official(make("plain")))


def test_the_dtype_is_the_checkpoints_own_unless_said(make: Make) -> None:
    folder = make()
    assert {p.dtype for p in load_official(folder).parameters()} == {torch.float16}
    assert {p.dtype for p in load_official(folder, dtype="bfloat16").parameters()} == {torch.bfloat16}
    full = DepthVLM.from_pretrained(folder, torch_dtype=torch.float32)
    assert full.dtype == torch.float32
    assert torch.equal(full.vlm.lm_head.weight, whole_state()["lm_head.weight"].float())


def test_weights_are_copies_so_a_file_may_go(make: Make) -> None:
    folder = make()
    model = load_official(folder)
    before = model.vlm.lm_head.weight.clone()
    (folder / "model.safetensors").write_bytes(b"")
    assert torch.equal(model.vlm.lm_head.weight, before)


def test_a_tower_that_the_checkpoint_lacks_is_read_from_the_folder_it_names(make: Make) -> None:
    whole = whole_state()
    state = {name: value for name, value in whole.items() if not name.startswith(TOWER)}
    apart = make("apart", state, mm_vision_tower="clip/away")
    with pytest.raises(SdvlmError, match=r"its tower 'clip/away' is not here|cannot download"):
        load_official(apart, local_files_only=True)
    away = apart.parent / "away"
    away.mkdir()
    clip = {name: whole[TOWER + name] for name in clip_shapes()}
    clip["vision_model.embeddings.position_ids"] = torch.arange(5)[None]
    others = {"text_model.final_layer_norm.weight": torch.ones(3), "visual_projection.weight": torch.ones(3, 3)}
    write_weights(away, clip | others, suffix="bin")  # a whole CLIP as its authors published it
    write_files(away, {"config.json": {"model_type": "clip", "vision_config": CLIP_CONFIG, "text_config": {}}})
    assert same(load_official(apart), load_official(make("whole")))


def test_sizes_of_a_carried_tower_come_from_its_weights_where_no_config_is_at_hand(make: Make) -> None:
    shapes = {name: tuple(4 * n if n == 16 else n for n in shape) for name, shape in clip_shapes().items()}
    state = {name: value for name, value in whole_state().items() if not name.startswith(TOWER)}
    state |= {TOWER + name: value for name, value in random_tensors(shapes).items()}
    state["model.mm_projector.0.weight"] = torch.zeros(24, 64, dtype=torch.float16)
    config = load_official(make(state=state, mm_vision_tower="an/other")).config.vlm_config.vision_config
    assert (config.hidden_size, config.num_attention_heads, config.num_hidden_layers) == (64, 1, 3)
    assert (config.image_size, config.patch_size, config.hidden_act) == (28, 14, "quick_gelu")


def test_a_tower_of_no_released_width_asks_for_its_config(make: Make) -> None:
    with pytest.raises(SdvlmError, match=r"is 16 wide, of no released size; put the folder with its config\.json"):
        load_official(make(mm_vision_tower="an/other"))


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("model.layers.1.mlp.up_proj.weight", None, "1 missing (model.layers.1.mlp.up_proj.weight)"),
        ("lm_head.weight", None, "1 missing (lm_head.weight)"),
        ("depth.pretrained.blocks.2.ls1.gamma", None, "1 missing (depth.pretrained.blocks.2.ls1.gamma)"),
        ("depth.pretrained.blocks.1.attn.qkv.weight", None, "1 missing (depth.pretrained.blocks.1.attn.qkv.weight)"),
        (TOWER + "vision_model.post_layernorm.bias", None, "1 missing (model.vision_tower.vision_tower.vision_model"),
        ("model.layers.9.mlp.up_proj.weight", (24,), "1 left over (model.layers.9.mlp.up_proj.weight)"),
        ("depth.pretrained.register_tokens", (1, 4, 12), "1 left over (depth.pretrained.register_tokens)"),
        ("model.mm_projector.4.bias", (24,), "1 left over (model.mm_projector.4.bias)"),
        ("something.else", (3,), "1 left over (something.else)"),
        ("model.norm.weight", (25,), "1 misshapen (model.norm.weight)"),
        ("depth.pretrained.blocks.0.attn.qkv.bias", (37,), "1 misshapen (depth.pretrained.blocks.0.attn.qkv.bias)"),
    ],
)
def test_what_is_missing_left_over_or_misshapen_is_refused_by_its_released_name(
    make: Make, name: str, change: tuple[int, ...] | None, message: str
) -> None:
    state = whole_state()
    state.pop(name, None)
    if change is not None:
        state[name] = torch.zeros(change, dtype=torch.float16)
    with pytest.raises(SdvlmError) as caught:
        load_official(make(state=state))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_every_problem_is_listed_at_once(make: Make) -> None:
    state = whole_state()
    del state["model.norm.weight"], state["model.layers.0.self_attn.q_proj.weight"]
    state["model.extra.weight"] = torch.zeros(3)
    with pytest.raises(
        SdvlmError, match=r"2 missing \(model\.layers\.0\..+, model\.norm.+\); 1 left over \(model\.extra"
    ):
        load_official(make(state=state))


def test_a_checkpoint_that_says_it_uses_depth_but_has_no_network_is_refused(make: Make) -> None:
    state = {name: value for name, value in whole_state().items() if not name.startswith("depth.")}
    with pytest.raises(SdvlmError, match=r"1 missing \(depth\.\*, the whole depth network\)"):
        load_official(make(state=state))


def test_a_checkpoint_that_does_not_use_depth_gets_no_fusion(make: Make) -> None:
    state = {name: value for name, value in whole_state().items() if not name.startswith("depth")}
    folder = make(state=state, use_depth=False)
    model, processor = load_official(folder), official_processor(folder)
    assert model.fusion is None
    assert model.config.estimator is None
    assert processor.estimator is None


def test_dead_and_computed_tensors_are_left_out_and_the_dead_said(make: Make, caplog: pytest.LogCaptureFixture) -> None:
    state = whole_state()
    state["model.layers.0.self_attn.rotary_emb.inv_freq"] = torch.zeros(6)  # as releases before 4.32 saved it
    state[TOWER + "vision_model.embeddings.position_ids"] = torch.arange(5)[None]
    with caplog.at_level(logging.WARNING, logger="sdvlm"):
        model = load_official(make(state=state))
    assert caplog.text.count("3 tensors depth_projector.* are left out") == 1
    assert torch.isfinite(model.vlm.model.language_model.rotary_emb.inv_freq).all()
    assert model.vlm.model.language_model.rotary_emb.inv_freq.all()


def test_the_config_says_how_to_ask_and_to_see(make: Make) -> None:
    folder = make()
    config = load_official(folder).config
    assert (config.conversation, config.estimator) == ("vicuna_v1", "depth")
    assert config.fusion_settings.pooling == "unpadded"
    assert load_official(folder, pooling="boxes").config.fusion_settings.pooling == "boxes"
    with pytest.raises(SdvlmError, match="no pooling 'median'; choose one of unpadded, boxes"):
        load_official(folder, pooling="median")
    half = load_official(folder, sine_dtype="float16")
    assert half.config.fusion_settings.sine_dtype == half.fusion.sine_dtype == "float16"
    assert config.vlm_config.text_config.rms_norm_eps == 1e-5
    assert config.vlm_config.vision_feature_layer == -2


def test_a_scaled_rotary_base_survives(make: Make) -> None:
    folder = make(rope_theta=5000.0, rope_scaling={"type": "linear", "factor": 2.0})
    found = load_official(folder).vlm.model.language_model.rotary_emb.inv_freq
    expected = 5000.0 ** (-torch.arange(0, 12, 2) / 12) / 2
    torch.testing.assert_close(found, expected)


def test_sampling_settings_of_a_config_that_does_not_sample_are_dropped(make: Make) -> None:
    config = load_official(make()).generation_config
    assert (config.temperature, config.top_p, config.eos_token_id) == (None, None, 2)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"mm_projector_type": "linear"}, "mm_projector_type = 'linear' is not known here; wanted 'mlp2x_gelu'"),
        ({"mm_patch_merge_type": "spatial"}, "mm_patch_merge_type = 'spatial'"),
        ({"mm_use_im_start_end": True}, "mm_use_im_start_end = True"),
        ({"image_aspect_ratio": "anyres"}, "image_aspect_ratio = 'anyres'"),
        ({"mm_vision_select_feature": "cls"}, "mm_vision_select_feature = 'cls'"),
        ({"num_hidden_layers": ...}, "lacks num_hidden_layers"),
    ],
)
def test_a_config_of_another_layout_is_refused(make: Make, config: dict[str, Any], message: str) -> None:
    with pytest.raises(SdvlmError, match=message):
        load_official(make(**config))


def test_damaged_and_absent_files_are_named(make: Make) -> None:
    cut = make("cut")
    data = (cut / "model.safetensors").read_bytes()
    (cut / "model.safetensors").write_bytes(data[: len(data) // 2])
    with pytest.raises(SdvlmError, match=r"model\.safetensors is damaged, cut short or no weights file"):
        load_official(cut)
    pickled = make("pickled", suffix="bin")
    (pickled / "pytorch_model.bin").write_bytes(b"\x80\x02not weights")
    with pytest.raises(SdvlmError, match=r"pytorch_model\.bin is damaged, cut short or no weights file"):
        load_official(pickled)
    lost = make("lost", shards=3)
    (lost / "model-00002-of-00003.safetensors").unlink()
    with pytest.raises(SdvlmError, match="lacks 1 of 3 weight files: model-00002-of-00003"):
        load_official(lost)
    bare = make("bare")
    (bare / "model.safetensors").unlink()
    with pytest.raises(SdvlmError, match=r"has no weights; wanted model\.safetensors or pytorch_model\.bin"):
        load_official(bare)


def test_a_pickle_that_would_run_code_is_refused_unread(make: Make, tmp_path: Path) -> None:
    class Harm:
        def __reduce__(self) -> tuple[Any, ...]:
            return (Path.touch, (tmp_path / "harmed",))

    folder = make(suffix="bin")
    torch.save({"model.norm.weight": Harm()}, folder / "pytorch_model.bin")
    with pytest.raises(SdvlmError, match="is damaged, cut short or no weights file"):
        load_official(folder)
    assert not (tmp_path / "harmed").exists()


def test_it_is_told_by_what_it_holds_and_not_by_its_name(make: Make, tmp_path: Path) -> None:
    official = make("whatever")
    assert is_official(official)
    assert not is_official(tmp_path / "nothing")
    stock = make("SD-VLM-7B", model_type="llava", vision_config={})
    assert not is_official(stock)
    renamed = make("llava-official", {"multi_modal_projector.linear_1.weight": torch.zeros(2)})
    assert not is_official(renamed)
    model = DepthVLM.from_pretrained(official)
    assert same(model, load_official(official))
    model.save_pretrained(tmp_path / "own")
    assert not is_official(tmp_path / "own")


def test_options_that_only_stock_checkpoints_take_are_refused(make: Make) -> None:
    folder = make()
    assert load_official(folder, attn_implementation="eager").vlm.config._attn_implementation == "eager"
    with pytest.raises(SdvlmError, match="take no device_map"):
        load_official(folder, device_map="auto")


def test_pixels_are_padded_with_clips_mean_colour_and_centred(make: Make) -> None:
    processor = official_processor(make()).processor.image_processor
    image = np.random.default_rng(0).integers(0, 256, (40, 75, 3), dtype=np.uint8)
    square = np.empty((75, 75, 3), np.uint8)
    square[:] = (122, 116, 104)
    square[17:57] = image  # floor((75 - 40) / 2) on top
    resized = np.asarray(Image.fromarray(square).resize((28, 28), Image.Resampling.BICUBIC)) / 255
    expected = (resized - [0.48145466, 0.4578275, 0.40821073]) / [0.26862954, 0.26130258, 0.27577711]
    found = processor(image, return_tensors="np")["pixel_values"][0]
    np.testing.assert_allclose(found, expected.transpose(2, 0, 1), atol=1e-6)


def test_an_older_preprocessor_file_with_plain_numbers_is_read(make: Make) -> None:
    files = {"preprocessor_config.json": {"size": 28, "crop_size": 28, "image_mean": [0.1, 0.2, 0.3]}}
    processor = official_processor(make(files=files, image_aspect_ratio="square")).processor.image_processor
    assert (processor.size["shortest_edge"], processor.crop_size["height"], processor.do_pad) == (28, 28, False)
    assert list(processor.image_mean) == [0.1, 0.2, 0.3]
    wrong = make("wrong", files={"preprocessor_config.json": {"size": 24, "crop_size": 24}})
    with pytest.raises(SdvlmError, match="the tower sees 28 x 28"):
        official_processor(wrong)


@recorded_only
def test_clip_features_are_the_recorded_ones() -> None:
    model, processor = load_official(GOLDEN / "checkpoint", dtype="float32"), official_processor(GOLDEN / "checkpoint")
    with np.load(GOLDEN / "cases.npz") as arrays:
        for index, said in enumerate(json.loads((GOLDEN / "cases.json").read_text())["images"]):
            image = Image.open(GOLDEN / said["file"]).convert("RGB")
            pixels = processor.processor.image_processor(image, return_tensors="pt")["pixel_values"]
            np.testing.assert_allclose(pixels[0], arrays[f"image{index}/clip_pixel_values"], atol=1e-6)
            with torch.no_grad():
                features = model.vlm.get_image_features(pixels, return_dict=True)
            found = features.hidden_states[-2][0, 1:]
            np.testing.assert_allclose(found, arrays[f"image{index}/clip_features"], atol=2e-4)


def apart(make: Make, scale: float, **config: object) -> Path:
    """A checkpoint that carries a tower, and beside it the named folder with other weights for it."""
    folder = make(f"apart{scale}", mm_vision_tower=f"tower{scale}", **config)
    tower = folder.parent / f"tower{scale}"
    tower.mkdir()
    state = {name: scale * whole_state()[TOWER + name] for name in clip_shapes()}
    write_files(tower, {"config.json": CLIP_CONFIG, "preprocessor_config.json": {"image_mean": [0.3, 0.2, 0.1]}})
    write_weights(tower, state)
    return folder


def test_the_tower_of_the_named_folder_goes_before_the_carried_copy_unless_it_was_trained(make: Make) -> None:
    name, carried = "embeddings.class_embedding", whole_state()[TOWER + "vision_model.embeddings.class_embedding"]
    for scale, trained, factor in ((2.0, False, 2.0), (3.0, True, 1.0)):
        folder = apart(make, scale, unfreeze_mm_vision_tower=trained)
        tower = load_official(folder).vlm.model.vision_tower
        assert torch.equal(tower.get_parameter(name), factor * carried)


def test_pixels_are_made_as_the_tower_s_folder_says_before_the_checkpoint_s(make: Make) -> None:
    folder = apart(make, 2.0, files={"preprocessor_config.json": {"image_mean": [0.5, 0.5, 0.5]}})
    assert list(official_processor(folder).processor.image_processor.image_mean) == [0.3, 0.2, 0.1]


def test_a_tower_beside_the_working_folder_is_found(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    state = {name: value for name, value in whole_state().items() if not name.startswith(TOWER)}
    folder = make(state=state)
    write_weights(folder.parent / "tower", {name: whole_state()[TOWER + name] for name in clip_shapes()})
    monkeypatch.chdir(folder)
    assert same(load_official("."), load_official(folder))
