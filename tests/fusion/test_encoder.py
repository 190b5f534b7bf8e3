"""The depth encoder: from RGB, from and to files, and where its preprocessing puts depth."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers as hf
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
from transformers.models.llava.image_processing_pil_llava import LlavaImageProcessorPil
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

import sdvlm.nano
from sdvlm.fusion.depth_channels import DepthChannels
from sdvlm.fusion.encoder import DepthEncoder, rgb_patch_features
from sdvlm.fusion.pixel_layout import is_packed, lay_out, to_raster
from sdvlm.types import Camera, DepthMap, SdvlmError

SQUARE = {"size": {"shortest_edge": 56}, "crop_size": {"height": 56, "width": 56}}
PROCESSORS = {
    "pad": LlavaImageProcessorPil(do_pad=True, image_mean=[0.0, 0.0, 0.0], **SQUARE),
    "crop": CLIPImageProcessorPil(do_center_crop=True, **SQUARE),
    "stretch": CLIPImageProcessorPil(size={"height": 56, "width": 56}, do_center_crop=False),
}
FOR_ANY_SIZE = Qwen2VLImageProcessorPil(
    size={"shortest_edge": 256, "longest_edge": 4096}, patch_size=8, merge_size=2, temporal_patch_size=2
)


def some_depth(size=(64, 48), seed=0):
    values = np.random.default_rng(seed).uniform(0.5, 9, (size[1], size[0]))
    values[:5, :9] = np.nan
    return DepthMap(values)


def moved(encoder):
    """With other weights than those it started at."""
    torch.manual_seed(3)
    with torch.no_grad():
        for parameter in encoder.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return encoder


def run(encoder, *args, **kwargs):
    with torch.no_grad():
        return encoder(**encoder.prepare(*args, **kwargs))


def test_an_encoder_starts_at_the_features_of_its_rgb_tower_and_is_as_wide(tower):
    encoder = DepthEncoder.from_rgb(tower)
    inputs = encoder.prepare([some_depth((56, 56))])
    side = 56 if not is_packed(tower.config) else 8
    if is_packed(tower.config):
        grey = inputs["pixel_values"].view(-1, 2, 2, side, side)[:, :1].expand(-1, 3, -1, -1, -1).flatten(1)
    else:
        grey = inputs["pixel_values"][:, :1].expand(-1, 3, -1, -1)
    with torch.no_grad():
        rgb = rgb_patch_features(tower, **{**inputs, "pixel_values": grey})
        torch.testing.assert_close(encoder(**inputs), rgb, atol=1e-5, rtol=1e-5)
    assert encoder.hidden_size == rgb.shape[-1]
    assert all(one.requires_grad for one in encoder.parameters())


def test_an_encoder_comes_back_from_its_folder_as_it_was(tower, tmp_path):
    channels = DepthChannels("inverse", ("valid", "height"), (-1.0, 1.0))
    encoder = moved(DepthEncoder.from_rgb(tower, channels))
    encoder.save_pretrained(tmp_path)
    again = DepthEncoder.from_pretrained(tmp_path)
    assert again.channels == channels
    assert not again.training
    depth, camera = some_depth((80, 50)), Camera.from_fov(80, 50, 60)
    assert torch.equal(run(again, [depth], [camera]), run(encoder, [depth], [camera]))
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "config.json",
        "model.safetensors",
        "preprocessor_config.json",
    ]


@pytest.mark.parametrize("name", PROCESSORS)
def test_the_preprocessing_travels_with_the_checkpoint(name, towers, tmp_path):
    encoder = DepthEncoder.from_rgb(towers["clip"], image_processor=PROCESSORS[name])
    encoder.save_pretrained(tmp_path)
    inputs = DepthEncoder.from_pretrained(tmp_path).prepare([some_depth((90, 61))])
    assert torch.equal(inputs["pixel_values"], encoder.prepare([some_depth((90, 61))])["pixel_values"])


@pytest.mark.parametrize("size", [(80, 60), (61, 97), (120, 45)])
@pytest.mark.parametrize("name", [*PROCESSORS, "any size"])
def test_depth_lies_where_the_pixels_of_the_picture_lie(name, size, towers):
    """A bright rectangle in the picture and known depth in the same rectangle fill the same processed pixels."""
    width, height = size
    x0, x1, y0, y1 = width // 4, 3 * width // 4, height // 5, 2 * height // 3
    picture, values = np.zeros((height, width, 3), np.uint8), np.full((height, width), np.nan)
    picture[y0:y1, x0:x1] = 255
    values[y0:y1, x0:x1] = 2.0
    processor = PROCESSORS.get(name, FOR_ANY_SIZE)
    tower = towers["clip" if name in PROCESSORS else "qwen2.5-vl"]
    inputs = DepthEncoder.from_rgb(tower, image_processor=processor).prepare([DepthMap(values)])
    made = processor([picture], return_tensors="pt")
    if name in PROCESSORS:
        seen, known = made["pixel_values"][0, 0], inputs["pixel_values"][0, 1]
    else:
        grid = inputs["image_grid_thw"]
        assert torch.equal(grid, made["image_grid_thw"])
        rows, columns = grid[0, 1:].tolist()
        seen, known = (
            to_raster(one["pixel_values"].view(rows * columns, -1, 2, 8, 8), grid, 2)[:, plane, 0]
            .view(rows, columns, 8, 8)
            .transpose(1, 2)
            .reshape(rows * 8, columns * 8)
            for one, plane in ((made, 0), (inputs, 1))
        )
    bright = seen > (seen.max() + seen.min()) / 2
    either = (bright | known.bool()).sum()
    assert either > 200
    assert (bright & known.bool()).sum() > 0.93 * either  # the edge of the rectangle may differ by half a pixel


def test_a_picture_without_depth_is_unknown_everywhere(towers):
    encoder = DepthEncoder.from_rgb(towers["clip"])
    inputs = encoder.prepare([None, some_depth()])
    assert not inputs["pixel_values"][0].any()
    assert inputs["pixel_values"][1].any()
    packed = DepthEncoder.from_rgb(towers["qwen2.5-vl"], image_processor=FOR_ANY_SIZE)
    inputs = packed.prepare([None, some_depth()], sizes=[(33, 47), (64, 48)])
    assert inputs["image_grid_thw"].tolist() == [[1, 6, 4], [1, 6, 8]]
    assert not inputs["pixel_values"][:24].any()
    with pytest.raises(SdvlmError, match="give the sizes of those without depth"):
        packed.prepare([None])


def test_unknown_depth_is_not_depth_zero(towers):
    encoder = moved(DepthEncoder.from_rgb(towers["clip"]))
    near, unknown = DepthMap(np.full((56, 56), 0.01)), DepthMap(np.full((56, 56), np.nan))
    middle = DepthMap(np.full((56, 56), np.sqrt(10.0)))
    features = [run(encoder, [one]) for one in (near, unknown, middle)]
    assert (features[0] - features[1]).abs().max() > 0.1
    assert (features[1] - features[2]).abs().max() > 0.1


def test_the_layer_that_a_host_reads_is_the_layer_of_its_depth_encoder(hosts, tmp_path):
    encoder = moved(DepthEncoder.from_rgb(hosts["llava"]))
    assert encoder.layer == hosts["llava"].config.vision_feature_layer == -2
    inputs = encoder.prepare([some_depth()])
    with torch.no_grad():
        states = encoder.tower(inputs["pixel_values"], output_hidden_states=True).hidden_states
        assert torch.equal(encoder(**inputs), states[-2][:, 1:])
    encoder.save_pretrained(tmp_path)
    assert DepthEncoder.from_pretrained(tmp_path).layer == -2
    assert DepthEncoder.from_rgb(hosts["llava"].model.vision_tower).layer is None


def test_an_encoder_is_made_from_folders_of_towers_and_of_models_with_one(towers, hosts, tmp_path):
    for name, model, tower in (
        ("tower", towers["dinov2"], towers["dinov2"]),
        ("model", hosts["llava"], hosts["llava"].model.vision_tower),
        ("packed", hosts["qwen2.5-vl"], hosts["qwen2.5-vl"].model.visual),
    ):
        model.save_pretrained(tmp_path / name)
        encoder = DepthEncoder.from_rgb(tmp_path / name)
        state, wanted = encoder.tower.state_dict(), DepthEncoder.from_rgb(tower).tower.state_dict()
        assert state.keys() == wanted.keys()
        assert all(torch.equal(state[key], wanted[key]) for key in state)


def test_an_encoder_is_made_from_a_checkpoint_with_depth():
    folder = Path(sdvlm.nano.__file__).parent / "weights"
    encoder = DepthEncoder.from_rgb(folder)
    model, processor = sdvlm.nano.load_nano()
    tower = model.vlm.base_model.vision_tower
    plane = torch.randn(1, 1, 192, 192)
    with torch.no_grad():
        rgb = rgb_patch_features(tower, plane.expand(-1, 3, -1, -1), layer=encoder.layer)
        found = encoder(torch.cat([plane, torch.zeros_like(plane)], dim=1))
    torch.testing.assert_close(found, rgb, atol=1e-4, rtol=1e-4)
    assert encoder.image_processor.size == processor.processor.image_processor.size
    assert {one.dtype for one in encoder.parameters()} == {torch.float32}


def test_no_path_of_a_machine_is_saved(hosts, tmp_path):
    hosts["llava"].save_pretrained(tmp_path / "host")
    DepthEncoder.from_rgb(tmp_path / "host").save_pretrained(tmp_path / "encoder")
    for path in (tmp_path / "encoder").glob("*.json"):
        assert str(tmp_path) not in path.read_text(encoding="utf-8")


def test_a_save_that_fails_leaves_what_was_there(towers, tmp_path):
    class FullDisk(CLIPImageProcessorPil):
        def to_json_string(self):
            raise OSError(28, "No space left on device")

    encoder = DepthEncoder.from_rgb(towers["clip"])
    encoder.save_pretrained(tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    encoder.image_processor = FullDisk()
    with pytest.raises(OSError, match="No space"):
        moved(encoder).save_pretrained(tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def saved(towers, folder):
    DepthEncoder.from_rgb(towers["clip"]).save_pretrained(folder)
    return folder


def edit(folder, change):
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    change(config)
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda folder: (folder / "model.safetensors").unlink(), "can be loaded from"),
        (lambda folder: (folder / "preprocessor_config.json").unlink(), "can be loaded from"),
        (lambda folder: (folder / "model.safetensors").write_bytes(b"\x08" * 40), "damaged or cut short"),
        (lambda folder: (folder / "config.json").write_text("{"), "can be loaded from"),
        (lambda folder: edit(folder, lambda config: config.pop("channels")), "can be loaded from .*channels"),
        (lambda folder: edit(folder, lambda config: config.update(model_type="clip")), "holds a 'clip' model"),
        (lambda folder: edit(folder, lambda config: config["channels"].update(extras=[])), "must have one convolution"),
        (
            lambda folder: edit(folder, lambda config: config["tower"]["config"].update(intermediate_size=40)),
            "weights of .* do not fit its config",
        ),
        (lambda folder: edit(folder, lambda config: config["tower"].update({"class": "Nothing"})), "has no .*Nothing"),
        (
            lambda folder: edit(folder, lambda config: config["tower"].update({"class": "torch_compilable_check"})),
            "is not a model|has no",
        ),
    ],
)
def test_a_damaged_folder_is_refused_in_one_line(damage, message, towers, tmp_path):
    damage(saved(towers, tmp_path))
    with pytest.raises(SdvlmError, match=message) as refused:
        DepthEncoder.from_pretrained(tmp_path)
    assert "\n" not in str(refused.value)


def test_what_is_no_rgb_tower_is_refused(towers, hosts, tmp_path):
    with pytest.raises(SdvlmError, match="is a depth encoder, which reads no RGB"):
        DepthEncoder.from_rgb(saved(towers, tmp_path / "depth"))
    with pytest.raises(SdvlmError, match="can be loaded from"):
        DepthEncoder.from_rgb(tmp_path / "nothing")
    with pytest.raises(SdvlmError, match="found none"):
        DepthEncoder.from_rgb(hosts["llava"].model.language_model)
    with pytest.raises(SdvlmError, match="must have one convolution that reads 3 channels"):
        DepthEncoder.from_rgb(DepthEncoder.from_rgb(towers["clip"]).tower)


def test_a_tower_that_is_not_of_transformers_is_not_saved(towers, tmp_path):
    class Own(hf.CLIPVisionModel):
        pass

    encoder = DepthEncoder.from_rgb(Own(towers["clip"].config))
    with pytest.raises(SdvlmError, match="only towers of transformers"):
        encoder.save_pretrained(tmp_path)
    assert not list(tmp_path.iterdir())


def test_lists_of_other_lengths_are_refused(towers):
    with pytest.raises(SdvlmError, match="got 2 cameras for 1 depth maps"):
        DepthEncoder.from_rgb(towers["clip"]).prepare([some_depth()], cameras=[None, None])


def test_weights_keep_their_dtype_or_take_the_one_asked_for(towers, tmp_path):
    DepthEncoder.from_rgb(towers["clip"]).to(torch.bfloat16).save_pretrained(tmp_path)
    assert next(DepthEncoder.from_pretrained(tmp_path).parameters()).dtype == torch.bfloat16
    assert next(DepthEncoder.from_pretrained(tmp_path, torch.float32).parameters()).dtype == torch.float32


def test_planes_laid_out_by_hand_are_what_prepare_makes(towers):
    encoder = DepthEncoder.from_rgb(towers["clip"], image_processor=PROCESSORS["stretch"])
    depth = some_depth((56, 56))
    by_hand = lay_out([torch.from_numpy(encoder.channels.planes(depth))], encoder.tower.config)
    assert torch.equal(encoder.prepare([depth])["pixel_values"], by_hand["pixel_values"])
