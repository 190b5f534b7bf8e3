"""The wrapped model is the model; depth enters through the seam; what is saved is what loads."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import Trainer, TrainingArguments

from sdvlm.fusion.config import FusionConfig
from sdvlm.fusion.depth_grid import CHANNELS, DepthGrid
from sdvlm.fusion.pool import pool_depth
from sdvlm.models.grid import token_boxes
from sdvlm.models.wrapper import DepthVLM
from sdvlm.types import Camera, DepthMap, SdvlmError

from .conftest import Tiny

SIZES = [(100, 75), (60, 90)]
GREEDY = {"max_new_tokens": 8, "do_sample": False}


def batch_of(
    tiny: Tiny, sizes: list[tuple[int, int]], padding_side: str = "left", long: bool = False
) -> dict[str, Any]:
    """One picture a prompt, prompts of different lengths, through the real processor."""
    rng = np.random.default_rng(7)
    images = [rng.integers(0, 256, (h, w, 3), dtype=np.uint8) for w, h in sizes]
    texts = []
    for index in range(len(sizes)):
        content = [{"type": "image"}, {"type": "text", "text": "How far is the chair?" + " Yes." * (3 * index + long)}]
        messages = [{"role": "user", "content": content}]
        texts.append(tiny.processor.apply_chat_template(messages, add_generation_prompt=True))
    return dict(tiny.processor(text=texts, images=images, return_tensors="pt", padding=True, padding_side=padding_side))


def depth_of(tiny: Tiny, sizes: list[tuple[int, int]]) -> torch.Tensor:
    grids = []
    for index, (w, h) in enumerate(sizes):
        depth = DepthMap(np.random.default_rng(index).uniform(0.5, 6.0, (h, w)))
        camera = Camera.from_fov(w, h, 60.0)
        grids.append(pool_depth(depth, token_boxes(tiny.model, tiny.processor, (w, h)), (w, h), camera))
    return DepthGrid.concatenate(grids).pack()


def wrap(tiny: Tiny, fusion: str | FusionConfig | None) -> DepthVLM:
    return DepthVLM.from_vlm(copy.deepcopy(tiny.model), fusion)


def test_without_depth_it_is_the_base_model_bit_for_bit(tiny: Tiny) -> None:
    model, inputs = wrap(tiny, "dpe"), batch_of(tiny, SIZES)
    with torch.no_grad():
        assert torch.equal(model(**inputs).logits, tiny.model(**inputs).logits)
    assert torch.equal(model.generate(**inputs, **GREEDY), tiny.model.generate(**inputs, **GREEDY))


def test_depth_that_is_unknown_everywhere_changes_nothing(tiny: Tiny) -> None:
    model, inputs = wrap(tiny, "dpe"), batch_of(tiny, SIZES)
    unknown = torch.full_like(depth_of(tiny, SIZES), torch.nan)
    unknown[:, CHANNELS.index("kind")] = 0
    with torch.no_grad():
        assert torch.equal(model(**inputs, depth_grid=unknown).logits, tiny.model(**inputs).logits)


@pytest.mark.parametrize("fusion", ["gated", "mlp", "pointmap"])
def test_a_fresh_zero_initialised_fusion_changes_nothing_even_with_depth(tiny: Tiny, fusion: str) -> None:
    model, inputs, depth = wrap(tiny, fusion), batch_of(tiny, SIZES), depth_of(tiny, SIZES)
    with torch.no_grad():
        assert torch.equal(model(**inputs, depth_grid=depth).logits, tiny.model(**inputs).logits)
    assert torch.equal(model.generate(**inputs, depth_grid=depth, **GREEDY), tiny.model.generate(**inputs, **GREEDY))


def test_depth_changes_the_logits_and_generation_agrees_with_the_forward_pass(tiny: Tiny) -> None:
    model, inputs, depth = wrap(tiny, "dpe"), batch_of(tiny, SIZES[:1]), depth_of(tiny, SIZES[:1])
    with torch.no_grad():
        logits = model(**inputs, depth_grid=depth).logits
        assert not torch.allclose(logits, tiny.model(**inputs).logits, atol=1e-3)
    answer = model.generate(**inputs, depth_grid=depth, max_new_tokens=1, do_sample=False)
    assert answer[0, -1] == logits[0, -1].argmax()


def test_beam_search_takes_depth(tiny: Tiny) -> None:
    model, inputs, depth = wrap(tiny, "dpe"), batch_of(tiny, SIZES), depth_of(tiny, SIZES)
    batch = model.generate(**inputs, depth_grid=depth, max_new_tokens=4, num_beams=3, do_sample=False)
    lone = model.generate(
        **batch_of(tiny, SIZES[:1]),
        depth_grid=depth_of(tiny, SIZES[:1]),
        max_new_tokens=4,
        num_beams=3,
        do_sample=False,
    )
    assert batch.shape[0] == 2
    assert torch.equal(batch[0, -4:], lone[0, -4:])


def test_a_batch_of_mixed_sizes_equals_its_singles_on_both_padding_sides(tiny: Tiny) -> None:
    model, depth = wrap(tiny, "dpe"), depth_of(tiny, SIZES)
    left, right = batch_of(tiny, SIZES, "left"), batch_of(tiny, SIZES, "right")
    with torch.no_grad():
        sides = [model(**inputs, depth_grid=depth).logits for inputs in (left, right)]
        kept = [inputs["attention_mask"].bool() for inputs in (left, right)]
        for row, size in enumerate(SIZES):
            alone_inputs = batch_of(tiny, SIZES)
            boxes = len(token_boxes(tiny.model, tiny.processor, size))
            start = 0 if row == 0 else len(depth) - boxes
            mask = alone_inputs["attention_mask"][row].bool()
            alone = {
                k: v[row : row + 1, mask]
                for k, v in alone_inputs.items()
                if v.shape[:2] == alone_inputs["input_ids"].shape
            }
            alone |= pixels_of(alone_inputs, row)
            logits = model(**alone, depth_grid=depth[start : start + boxes]).logits[0]
            for side, keep in zip(sides, kept, strict=True):
                torch.testing.assert_close(side[row, keep[row]], logits, atol=2e-5, rtol=1e-4)


def pixels_of(inputs: dict[str, Any], row: int) -> dict[str, Any]:
    if "image_grid_thw" not in inputs:
        return {"pixel_values": inputs["pixel_values"][row : row + 1]}
    counts = inputs["image_grid_thw"].prod(dim=1).tolist()
    pixels = inputs["pixel_values"].split(counts)[row]
    return {"pixel_values": pixels, "image_grid_thw": inputs["image_grid_thw"][row : row + 1]}


@pytest.mark.parametrize("fusion", [None, "dpe", "mlp"])
def test_a_saved_model_loads_with_the_same_logits(tiny: Tiny, fusion: str | None, tmp_path: Path) -> None:
    model, inputs = wrap(tiny, fusion), batch_of(tiny, SIZES)
    depth = None if fusion is None else depth_of(tiny, SIZES)
    if fusion == "mlp":
        torch.nn.init.normal_(model.fusion.mlp.last.weight)
    model.save_pretrained(tmp_path)
    again = DepthVLM.from_pretrained(tmp_path)
    assert again.config.fusion == model.config.fusion
    assert type(again.vlm) is type(tiny.model)
    with torch.no_grad():
        assert torch.equal(again(**inputs, depth_grid=depth).logits, model(**inputs, depth_grid=depth).logits)
    assert not list(tmp_path.glob("*.bin"))


def test_a_save_that_fails_leaves_the_last_checkpoint_whole(tiny: Tiny, tmp_path: Path, monkeypatch: Any) -> None:
    model = wrap(tiny, "gated")
    model.save_pretrained(tmp_path, max_shard_size="20KB")
    assert len(list(tmp_path.glob("model-*.safetensors"))) > 1
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    def disk_full(*args: Any, **kwargs: Any) -> None:
        raise OSError("no space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("transformers.modeling_utils.safe_save_file", disk_full)
        with pytest.raises(OSError, match="no space left"):
            model.save_pretrained(tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
    model.save_pretrained(tmp_path)  # one file this time: the old shards must go
    assert [path.name for path in tmp_path.glob("*.safetensors*")] == ["model.safetensors"]
    DepthVLM.from_pretrained(tmp_path)


def test_tied_embeddings_stay_tied_through_saving(tiny: Tiny, tmp_path: Path) -> None:
    config = copy.deepcopy(tiny.model.config)
    config.tie_word_embeddings = config.text_config.tie_word_embeddings = True
    base = type(tiny.model)(config)
    base.save_pretrained(tmp_path / "base")  # the head is not written
    model, inputs = DepthVLM.from_vlm(tmp_path / "base", "mlp"), batch_of(tiny, SIZES)
    model.save_pretrained(tmp_path / "depth")
    assert "vlm.lm_head.weight" not in load_file(tmp_path / "depth" / "model.safetensors")
    again = DepthVLM.from_pretrained(tmp_path / "depth")
    for one in (model, again):
        assert one.get_output_embeddings().weight is one.get_input_embeddings().weight
    with torch.no_grad():
        assert torch.equal(again(**inputs).logits, model(**inputs).logits)


def test_generation_settings_travel_with_the_model(tiny: Tiny, tmp_path: Path) -> None:
    model = wrap(tiny, "gated")
    model.vlm.generation_config.eos_token_id = [7, 11]
    model.save_pretrained(tmp_path)
    again = DepthVLM.from_pretrained(tmp_path)
    assert again.vlm.generation_config.eos_token_id == [7, 11]
    assert again.generation_config is again.vlm.generation_config


def test_from_vlm_takes_a_folder(tiny: Tiny, tmp_path: Path) -> None:
    tiny.model.save_pretrained(tmp_path)
    model, inputs = DepthVLM.from_vlm(tmp_path, "gated"), batch_of(tiny, SIZES)
    with torch.no_grad():
        assert torch.equal(model(**inputs).logits, tiny.model(**inputs).logits)


def test_damaged_and_incomplete_checkpoints_are_refused_in_one_line(tiny: Tiny, tmp_path: Path) -> None:
    wrap(tiny, "mlp").save_pretrained(tmp_path)
    weights, config = tmp_path / "model.safetensors", tmp_path / "config.json"
    whole, settings, tensors = weights.read_bytes(), config.read_text(), load_file(weights)
    gone = "fusion.mlp.last.weight"
    cases: list[tuple[str, Any]] = [
        ("damaged or cut short", lambda: weights.write_bytes(whole[: len(whole) // 2])),
        (
            "missing (fusion.mlp.last.weight",
            lambda: save_file({k: v for k, v in tensors.items() if k != gone}, weights, {"format": "pt"}),
        ),
        (
            "left over (fusion.stray)",
            lambda: save_file(tensors | {"fusion.stray": torch.zeros(2)}, weights, {"format": "pt"}),
        ),
        (
            "misshapen (fusion.mlp.last.weight",
            lambda: save_file(tensors | {gone: torch.zeros(3, 3)}, weights, {"format": "pt"}),
        ),
        ("plain 'llava' model", lambda: config.write_text(json.dumps(json.loads(settings) | {"model_type": "llava"}))),
        (
            "unknown fusion settings novel",
            lambda: config.write_text(settings.replace('"fusion": {', '"fusion": {"novel": 1,')),
        ),
        ("has no config.json", config.unlink),
    ]
    for message, damage in cases:
        weights.write_bytes(whole)
        config.write_text(settings)
        damage()
        with pytest.raises(SdvlmError) as caught:
            DepthVLM.from_pretrained(tmp_path)
        assert message in str(caught.value)
        assert "\n" not in str(caught.value)
    with pytest.raises(SdvlmError, match="no model folder"):
        DepthVLM.from_pretrained(tmp_path / "nowhere")


def test_pictures_without_their_grid_are_refused(tinies: dict[str, Tiny]) -> None:
    """fusion-methods, finding 10: the bare model would go on with wrong positions and say nothing."""
    tiny = tinies["qwen2.5-vl"]
    model, inputs = wrap(tiny, "dpe"), batch_of(tiny, SIZES)
    for name in ("image_grid_thw", "mm_token_type_ids"):
        partial = {key: value for key, value in inputs.items() if key != name}
        with pytest.raises(SdvlmError, match=name):
            model(**partial, depth_grid=depth_of(tiny, SIZES))
        with pytest.raises(SdvlmError, match=name):
            model.generate(**partial, **GREEDY)


def test_depth_of_the_wrong_length_dtype_or_place_is_refused(tiny: Tiny) -> None:
    model, inputs, depth = wrap(tiny, "dpe"), batch_of(tiny, SIZES), depth_of(tiny, SIZES)
    with pytest.raises(SdvlmError, match=f"covers {len(depth) - 1} image tokens but the model has {len(depth)}"):
        model(**inputs, depth_grid=depth[1:])
    with pytest.raises(SdvlmError, match="must stay float32"):
        model(**inputs, depth_grid=depth.bfloat16())
    with pytest.raises(SdvlmError, match="without pixel_values"):
        model(input_ids=inputs["input_ids"], depth_grid=depth)
    with pytest.raises(SdvlmError, match="no fusion"):
        wrap(tiny, None)(**inputs, depth_grid=depth)


def test_it_runs_in_bfloat16_with_a_float32_code(tiny: Tiny) -> None:
    model, inputs, depth = wrap(tiny, "dpe").to(torch.bfloat16), batch_of(tiny, SIZES), depth_of(tiny, SIZES)
    with torch.no_grad():
        logits = model(**inputs, depth_grid=depth).logits
    assert logits.dtype == torch.bfloat16
    assert torch.isfinite(logits).all()


def test_gradients_reach_the_fusion_through_a_checkpointed_model(tiny: Tiny) -> None:
    model, inputs, depth = wrap(tiny, "mlp"), batch_of(tiny, SIZES), depth_of(tiny, SIZES)
    model.train()
    plain = model(**inputs, depth_grid=depth, labels=inputs["input_ids"]).loss
    plain.backward()
    wanted = model.fusion.mlp.last.weight.grad.clone()
    assert wanted.abs().max() > 0
    model.zero_grad()
    model.gradient_checkpointing_enable()
    assert any(getattr(m, "gradient_checkpointing", False) for m in model.vlm.modules())
    model(**inputs, depth_grid=depth, labels=inputs["input_ids"], use_cache=False).loss.backward()
    torch.testing.assert_close(model.fusion.mlp.last.weight.grad, wanted, rtol=1e-4, atol=1e-7)


def test_fields_beside_the_pooled_features_survive_the_fusion(tiny: Tiny) -> None:
    model, inputs, depth = wrap(tiny, "dpe"), batch_of(tiny, SIZES), depth_of(tiny, SIZES)
    asked = {k: v for k, v in inputs.items() if k in ("pixel_values", "image_grid_thw")}
    features = model.vlm.get_image_features(**asked, return_dict=True)
    fused = model.fuse(features, depth)
    assert type(fused) is type(features)
    assert type(fused.pooler_output) is type(features.pooler_output)
    assert fused.last_hidden_state is features.last_hidden_state
    assert not torch.equal(fused.pooler_output[0], features.pooler_output[0])


class _Rows(torch.utils.data.Dataset):
    def __init__(self, batch: dict[str, Any]) -> None:
        self.batch = batch

    def __len__(self) -> int:
        return 2

    def __getitem__(self, index: int) -> int:
        return index


def test_a_trainer_step_moves_only_the_chosen_parameters(tiny: Tiny, tmp_path: Path) -> None:
    model = wrap(tiny, "mlp")
    batch = batch_of(tiny, SIZES) | {"depth_grid": depth_of(tiny, SIZES)}
    batch["labels"] = batch["input_ids"].masked_fill(batch["attention_mask"] == 0, -100)
    model.requires_grad_(False)
    model.fusion.requires_grad_(True)
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    arguments = TrainingArguments(
        str(tmp_path), max_steps=1, per_device_train_batch_size=2, learning_rate=0.1, report_to=[], use_cpu=True,
        remove_unused_columns=False, save_strategy="no", disable_tqdm=True, lr_scheduler_type="constant",
    )  # fmt: skip
    trainer = Trainer(model, arguments, train_dataset=_Rows(batch), data_collator=lambda rows: dict(batch))
    trainer.train()
    moved = {name for name, parameter in model.named_parameters() if not torch.equal(parameter, before[name])}
    assert moved == {
        "fusion.mlp.last.weight",
        "fusion.mlp.last.bias",
    }  # the first layer waits until the last has left zero
    trainer.save_model(str(tmp_path / "out"))
    again = DepthVLM.from_pretrained(tmp_path / "out")
    assert torch.equal(again.fusion.mlp.last.weight, model.fusion.mlp.last.weight)


def test_lora_by_module_path_saves_reloads_and_merges_to_the_same_logits(tiny: Tiny, tmp_path: Path) -> None:
    from peft import LoraConfig, PeftModel, get_peft_model

    inputs, depth = batch_of(tiny, SIZES), depth_of(tiny, SIZES)
    lora = LoraConfig(
        r=4,
        target_modules=r"vlm\.model\.language_model\..*\.(q_proj|v_proj)",
        modules_to_save=["fusion"],
        init_lora_weights=False,
    )
    model = get_peft_model(wrap(tiny, "mlp"), lora).eval()
    adapted = [name for name, _ in model.named_parameters() if "lora_" in name]
    assert adapted
    assert all("language_model" in name for name in adapted)
    torch.nn.init.normal_(model.base_model.model.fusion.modules_to_save["default"].mlp.last.weight)
    with torch.no_grad():
        wanted = model(**inputs, depth_grid=depth).logits
        assert not torch.allclose(wanted, tiny.model(**inputs).logits, atol=1e-2)
        model.save_pretrained(tmp_path / "adapter")
        again = PeftModel.from_pretrained(wrap(tiny, "mlp"), tmp_path / "adapter").eval()
        assert torch.equal(again(**inputs, depth_grid=depth).logits, wanted)
        merged = again.merge_and_unload()
        torch.testing.assert_close(merged(**inputs, depth_grid=depth).logits, wanted, atol=1e-4, rtol=1e-4)
        merged.save_pretrained(tmp_path / "merged")
        final = DepthVLM.from_pretrained(tmp_path / "merged")
        torch.testing.assert_close(final(**inputs, depth_grid=depth).logits, wanted, atol=1e-4, rtol=1e-4)
