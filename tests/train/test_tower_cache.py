"""Kept tower features: the model cannot tell, the tower does not look twice, the folder stays bounded and whole."""

import copy
import pickle
from dataclasses import replace

import numpy as np
import pytest
import torch
from tests.train.trainees import camera_of, depth_of, picture
from transformers.modeling_layers import GradientCheckpointingLayer

from sdvlm.fusion.towers import find_tower
from sdvlm.models.depth_inputs import pack_depth
from sdvlm.models.grid import TokenGrid
from sdvlm.models.wrapper import DepthVLM
from sdvlm.train.pooled_cache import PooledDepth
from sdvlm.train.tensor_files import TensorFiles
from sdvlm.train.tower_cache import attach, why_not
from sdvlm.types import SdvlmError

SIZES = [(70, 50), (48, 64), (70, 50)]


@pytest.fixture
def frozen(trainee):
    trainee.model.vlm.requires_grad_(False)
    return trainee


def batch(trainee, seeds, depth=True):
    messages = [[{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "Table?"}]}] for _ in seeds]
    sizes = [SIZES[seed % 3] for seed in seeds]
    pictures = [picture(seed, size) for seed, size in zip(seeds, sizes, strict=True)]
    maps = [depth_of(seed, size) for seed, size in zip(seeds, sizes, strict=True)] if depth else None
    return trainee.processor(messages, pictures, maps)


def looks(tower):
    """Counts the pictures that reach the tower's patch embedding."""
    seen = []
    embedding = next(m for m in tower.modules() if isinstance(m, torch.nn.Conv2d | torch.nn.Conv3d))
    embedding.register_forward_hook(lambda module, inputs, output: seen.append(len(inputs[0])))
    return seen


@pytest.mark.parametrize("depth", [True, False])
def test_the_logits_are_the_same_bit_for_bit_from_the_tower_and_from_disk(frozen, tmp_path, depth):
    inputs = batch(frozen, [0], depth)
    with torch.no_grad():
        plain = frozen.model(**inputs).logits
        with attach(frozen.model, tmp_path) as cache:
            first, second = frozen.model(**inputs).logits, frozen.model(**inputs).logits
        after = frozen.model(**inputs).logits
    assert (cache.seen, cache.found) == (2, 1)
    for logits in (first, second, after):
        assert torch.equal(logits, plain)


def test_pictures_of_a_batch_are_kept_one_by_one_and_found_in_any_order(frozen, tmp_path):
    with attach(frozen.model, tmp_path) as cache, torch.no_grad():
        frozen.model(**batch(frozen, [0, 1]))
        counted = looks(cache.tower)
        assert cache.found == 0
        mixed = frozen.model(**batch(frozen, [1, 2, 0])).logits
        assert (cache.seen, cache.found, len(counted)) == (5, 2, 1)
    with torch.no_grad():
        torch.testing.assert_close(mixed, frozen.model(**batch(frozen, [1, 2, 0])).logits, rtol=1e-4, atol=1e-5)


def test_gradients_of_what_is_trained_are_the_same(frozen, tmp_path):
    projector = [p for n, p in frozen.model.named_parameters() if "multi_modal_projector" in n]
    for parameter in projector:
        parameter.requires_grad_(True)
    trained = [p for p in frozen.model.parameters() if p.requires_grad]
    inputs = batch(frozen, [0])

    def gradients():
        frozen.model.zero_grad()
        frozen.model(**inputs).logits.square().sum().backward()
        return [None if p.grad is None else p.grad.clone() for p in trained]

    plain = gradients()
    assert any(one is not None and one.any() for one in plain)
    with attach(frozen.model, tmp_path):
        frozen.model.train()
        for _ in range(2):
            for kept, wanted in zip(gradients(), plain, strict=True):
                assert (kept is None and wanted is None) or torch.equal(kept, wanted)


def test_a_projector_inside_the_tower_may_be_trained_and_has_the_same_gradients(make_trainee, tmp_path):
    one = make_trainee("qwen2.5-vl")
    one.model.vlm.requires_grad_(False)
    merger = one.model.vlm.base_model.visual.merger.requires_grad_(True)
    inputs = batch(one, [0, 1])

    def made():
        one.model.zero_grad()
        logits = one.model(**inputs).logits
        logits.square().sum().backward()
        return logits.detach(), [parameter.grad.clone() for parameter in merger.parameters()]

    for change in (0.0, 0.1):  # what is kept holds for other weights of the projector too
        with torch.no_grad():
            for parameter in merger.parameters():
                parameter.add_(change)
        logits, gradients = made()
        with attach(one.model, tmp_path) as cache:
            for _ in range(2):
                kept_logits, kept_gradients = made()
                torch.testing.assert_close(kept_logits, logits, rtol=1e-4, atol=1e-5)
                for kept, wanted in zip(kept_gradients, gradients, strict=True):
                    torch.testing.assert_close(kept, wanted, rtol=1e-4, atol=1e-4 * float(wanted.abs().max()))
            assert (cache.seen, cache.found) == (4, 2 if change == 0 else 4)
    assert torch.equal(made()[0], logits)
    assert not any("forward" in vars(module) for module in one.model.modules())


def test_another_process_finds_what_this_one_kept(frozen, tmp_path):
    inputs = batch(frozen, [0, 1])
    twin = copy.deepcopy(frozen.model)
    with torch.no_grad():
        with attach(frozen.model, tmp_path):
            first = frozen.model(**inputs).logits
        with attach(twin, tmp_path) as cache:
            assert torch.equal(twin(**inputs).logits, first)
    assert cache.found == 2


@pytest.mark.parametrize("change", ["weights", "pixels", "precision"])
def test_features_are_never_found_for_something_else(frozen, tmp_path, change):
    inputs = batch(frozen, [0])
    model = frozen.model
    with torch.no_grad():
        with attach(model, tmp_path):
            model(**inputs)
        if change == "weights":
            next(find_tower(model.vlm.base_model).parameters()).add_(1e-3)
        elif change == "pixels":
            inputs["pixel_values"][0, 0] += 1e-3
        else:
            model.to(torch.bfloat16)
        with attach(model, tmp_path) as cache:
            model(**inputs)
            assert cache.found == 0


def test_autocast_is_part_of_what_features_were_made_from(frozen, tmp_path):
    inputs = batch(frozen, [0])
    with attach(frozen.model, tmp_path) as cache, torch.no_grad():
        frozen.model(**inputs)
        with torch.autocast("cpu", torch.bfloat16):
            frozen.model(**inputs)
            frozen.model(**inputs)
    assert (cache.seen, cache.found) == (3, 1)


def test_only_what_the_model_reads_is_kept(make_trainee, tmp_path):
    kept = {}
    for family in ("llava", "qwen2.5-vl"):
        one = make_trainee(family)
        one.model.vlm.requires_grad_(False)
        with attach(one.model, tmp_path / family) as cache:
            kept[family] = cache.parts
    assert kept == {"llava": ("hidden_states.1",), "qwen2.5-vl": ("pooler_output",)}  # the last but one of two layers


def test_several_layers_are_kept_where_the_model_joins_several(make_trainee, tmp_path):
    one = make_trainee("llava")
    host = one.model.vlm.base_model
    one.model.vlm.config.vision_feature_layer = host.config.vision_feature_layer = [0, -2]
    wide = torch.nn.Linear(48, 32)
    host.multi_modal_projector.linear_1 = wide
    one.model.vlm.requires_grad_(False)
    inputs = batch(one, [0], depth=False)
    with torch.no_grad():
        plain = one.model(**inputs).logits
        with attach(one.model, tmp_path) as cache:
            one.model(**inputs)
            assert torch.equal(one.model(**inputs).logits, plain)
    assert cache.parts == ("hidden_states.0", "hidden_states.1")


def test_a_checkpoint_saved_meanwhile_is_the_same(frozen, tmp_path):
    names = list(frozen.model.state_dict())
    with attach(frozen.model, tmp_path / "cache"):
        assert list(frozen.model.state_dict()) == names
        frozen.model.save_pretrained(tmp_path / "model")
    loaded = DepthVLM.from_pretrained(tmp_path / "model").state_dict()
    for name, value in frozen.model.state_dict().items():
        assert torch.equal(loaded[name], value)


@pytest.mark.skipif(
    "__call__" in vars(GradientCheckpointingLayer), reason="before transformers 5.23 the models ask for all of them too"
)
def test_someone_who_asks_the_tower_for_all_layers_gets_them(make_trainee, tmp_path):
    one = make_trainee("llava")
    one.model.vlm.requires_grad_(False)
    tower = one.model.vlm.base_model.vision_tower
    pixels = batch(one, [0], depth=False)["pixel_values"]
    with attach(one.model, tmp_path), torch.no_grad():
        states = tower(pixels, output_hidden_states=True).hidden_states
    with torch.no_grad():
        wanted = tower(pixels, output_hidden_states=True).hidden_states
    assert len(states) == 3
    assert all(torch.equal(a, b) for a, b in zip(states, wanted, strict=True))


@pytest.mark.parametrize("damage", ["cut", "flip", "empty"])
def test_a_damaged_file_is_made_again(frozen, tmp_path, damage, caplog):
    inputs = batch(frozen, [0])
    with attach(frozen.model, tmp_path) as cache, torch.no_grad():
        first = frozen.model(**inputs).logits
        (path,) = tmp_path.rglob("*.safetensors")
        data = bytearray(path.read_bytes())
        if damage == "flip":
            data[-5] ^= 64
        path.write_bytes(data[: len(data) // 2] if damage == "cut" else b"" if damage == "empty" else data)
        assert torch.equal(frozen.model(**inputs).logits, first)
        assert "made again" in caplog.text
        assert cache.found == 0
        frozen.model(**inputs)
        assert cache.found == 1


def test_the_folder_never_outgrows_its_limit_and_the_last_used_stay(tmp_path):
    files = TensorFiles(tmp_path, 10_000)
    for number in range(30):
        files.put(f"{number:064x}", {"a": torch.full((250,), float(number))})
        files.get(f"{0:064x}")  # used again and again
        assert sum(path.stat().st_size for path in tmp_path.rglob("*.safetensors")) <= 10_000
    kept = {path.stem for path in tmp_path.rglob("*.safetensors")}
    assert {f"{0:064x}", f"{29:064x}", f"{28:064x}"} <= kept
    assert 5 <= len(kept) <= 9


def test_two_processes_that_share_a_folder_stay_within_the_limit_together(tmp_path):
    one, two = TensorFiles(tmp_path, 100_000), TensorFiles(tmp_path, 100_000)
    for number in range(400):
        (one, two)[number % 2].put(f"{number:064x}", {"a": torch.full((250,), float(number))})
    assert sum(path.stat().st_size for path in tmp_path.rglob("*.safetensors")) <= 100_000 * 1.05


def test_a_folder_that_cannot_be_written_costs_the_memory_not_the_run(frozen, tmp_path, caplog):
    (tmp_path / "file").write_text("not a folder")
    inputs = batch(frozen, [0])
    with torch.no_grad():
        plain = frozen.model(**inputs).logits
        with attach(frozen.model, tmp_path / "file" / "cache"):
            assert torch.equal(frozen.model(**inputs).logits, plain)
            frozen.model(**inputs)
    assert caplog.text.count("nothing more is kept") == 1


def test_a_tower_that_is_trained_or_read_with_depth_is_refused_with_the_reason(make_trainee, tmp_path):
    for family in ("llava", "qwen2.5-vl"):
        trained = make_trainee(family).model
        with pytest.raises(SdvlmError, match=r"the vision tower is trained.*lr\.vision_tower"):
            attach(trained, tmp_path)
    adapter = make_trainee("llava", "adapter").model
    adapter.vlm.requires_grad_(False)
    assert "works inside the vision tower" in why_not(adapter)


def test_pooled_depth_comes_back_as_it_was_pooled(trainee, tmp_path):
    grid = trainee.processor.grid
    assert isinstance(grid, TokenGrid)
    fusion = trainee.processor.fusion
    maps = [depth_of(0, SIZES[0]), None, depth_of(2, SIZES[1])]
    sizes = [SIZES[0], SIZES[0], SIZES[1]]
    cameras = [camera_of(SIZES[0]), None, None]
    wanted = pack_depth(fusion, grid, sizes, maps, cameras)
    pooled = PooledDepth(tmp_path)
    for _ in range(2):
        found = pooled.pack(fusion, grid, sizes, maps, cameras)
        np.testing.assert_array_equal(found.numpy(), wanted.numpy())
    assert len(list(tmp_path.rglob("*.safetensors"))) == 3
    other_camera = pooled.pack(fusion, grid, sizes[:1], maps[:1])
    np.testing.assert_array_equal(other_camera.numpy(), pack_depth(fusion, grid, sizes[:1], maps[:1]).numpy())
    assert pooled.pack(fusion, grid, sizes[:1], [None]) is None


def test_a_processor_with_pooled_depth_on_disk_makes_the_same_batches_and_still_moves_to_workers(trainee, tmp_path):
    plain = batch(trainee, [0, 1, 0])
    trainee.processor.placer.pack = PooledDepth(tmp_path).pack
    moved = pickle.loads(pickle.dumps(trainee.processor))
    for processor in (trainee.processor, moved):
        again = batch(replace(trainee, processor=processor), [0, 1, 0])
        assert again.keys() == plain.keys()
        for name in plain:
            np.testing.assert_array_equal(again[name].numpy(), plain[name].numpy())
    assert len(list(tmp_path.rglob("*.safetensors"))) == 2
