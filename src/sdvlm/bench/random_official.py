"""A released SD-VLM of any size with random weights, in the official layout on disk: something to time both ways on."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor
from transformers import (
    CLIPVisionConfig,
    DepthAnythingConfig,
    DepthAnythingForDepthEstimation,
    Dinov2Config,
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
)

from sdvlm.bench.random_llava import bench_questions
from sdvlm.bench.small_llama_tokenizer import small_llama_tokenizer
from sdvlm.models.official.depth_network import depth_source
from sdvlm.models.vicuna import vicuna_prompt
from sdvlm.types import SdvlmError

__all__ = ["SHAPES", "OfficialShape", "write_random_official"]

_SHARD_BYTES = 4 * 2**30
_RENAMED = (
    ("model.language_model.", "model."),
    ("model.multi_modal_projector.linear_1.", "model.mm_projector.0."),
    ("model.multi_modal_projector.linear_2.", "model.mm_projector.2."),
    ("model.vision_tower.vision_model.", "model.vision_tower.vision_tower.vision_model."),
    ("model.vision_tower.", "model.vision_tower.vision_tower.vision_model."),
)


@dataclass(frozen=True)
class OfficialShape:
    """Sizes of the three networks; picture 336 and patch 14, so 576 image tokens, are the released ones.

    Args:
        width, layers, heads, mlp, vocabulary: of the language model.
        clip_width, clip_layers, clip_heads: of the tower.
        depth_width, depth_blocks, depth_heads: of the depth network's backbone.
        features, necks: of its head.
        depth_side: shorter side of its input, a multiple of 14.
        dtype: that the weights are stored in.
    """

    width: int
    layers: int
    heads: int
    mlp: int
    vocabulary: int
    clip_width: int
    clip_layers: int
    clip_heads: int
    depth_width: int
    depth_blocks: int
    depth_heads: int
    features: int
    necks: tuple[int, int, int, int]
    depth_side: int = 518
    dtype: str = "float32"


SHAPES = {
    "toy": OfficialShape(64, 2, 4, 128, 1024, 32, 3, 4, 32, 4, 4, 16, (8, 8, 16, 16), depth_side=112),
    "small": OfficialShape(1024, 4, 16, 2752, 4096, 256, 4, 4, 128, 4, 2, 16, (16, 32, 64, 64)),
    "llava-1.5-7b": OfficialShape(
        4096, 32, 32, 11008, 32000, 1024, 24, 16, 1024, 24, 16, 256, (256, 512, 1024, 1024), dtype="bfloat16"
    ),
}
"""``llava-1.5-7b``: the released sizes. ``small``, for a CPU: tower and depth network do a quarter of the
multiplications of reading a prompt, as they do at the released sizes. ``toy``, for tests."""


def write_random_official(shape: OfficialShape, folder: Path, device: str = "cpu") -> None:
    """A merged checkpoint as the released merge script writes it, with its tokenizer and the tower's config beside it.

    Linear weights have variance 1 / inputs, so that activations keep their size and answers depend on all of it.

    Args:
        shape: sizes.
        folder: new or empty.
        device: to draw the numbers on.

    Raises:
        SdvlmError: the folder holds files.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.iterdir()):
        raise SdvlmError(f"{folder} is not empty; give a new folder")
    clip = CLIPVisionConfig(
        hidden_size=shape.clip_width,
        intermediate_size=4 * shape.clip_width,
        num_hidden_layers=shape.clip_layers,
        num_attention_heads=shape.clip_heads,
        image_size=336,
        patch_size=14,
    )
    tokenizer = small_llama_tokenizer([*bench_questions(100), vicuna_prompt([("user", "")], ask=True)] * 3)
    _write_config(shape, folder, clip)
    tokenizer.save_pretrained(folder)
    _write_weights(_tensors(shape, clip, device), folder)


def _write_config(shape: OfficialShape, folder: Path, clip: CLIPVisionConfig) -> None:
    """What the released ``save_pretrained`` says, the sizes of the depth network, and the tower's folder."""
    config = {
        "architectures": ["LlavaLlamaForCausalLM"],
        "model_type": "llava_llama",
        "hidden_size": shape.width,
        "intermediate_size": shape.mlp,
        "num_hidden_layers": shape.layers,
        "num_attention_heads": shape.heads,
        "num_key_value_heads": shape.heads,
        "vocab_size": shape.vocabulary,
        "max_position_embeddings": 4096,
        "rms_norm_eps": 1e-5,
        "hidden_act": "silu",
        "tie_word_embeddings": False,
        "bos_token_id": 1,
        "eos_token_id": 2,
        "pad_token_id": 0,
        "image_aspect_ratio": "pad",
        "mm_hidden_size": shape.clip_width,
        "mm_patch_merge_type": "flat",
        "mm_projector_type": "mlp2x_gelu",
        "mm_use_im_patch_token": False,
        "mm_use_im_start_end": False,
        "mm_vision_select_feature": "patch",
        "mm_vision_select_layer": -2,
        "mm_vision_tower": "clip",
        "tokenizer_padding_side": "right",
        "torch_dtype": shape.dtype,
        "use_depth": True,
        "gt_depth": False,
        "use_mm_proj": True,
    }
    _write_json(config, folder / "config.json")
    told = {"depth": shape.depth_blocks, "num_heads": shape.depth_heads, "intermediate_layer_idx": _taps(shape)}
    told["input_size"] = shape.depth_side
    _write_json(told, folder / "depth_config.json")
    (folder / "clip").mkdir()
    clip.save_pretrained(folder / "clip")
    preprocessing = {
        "image_processor_type": "CLIPImageProcessor",
        "crop_size": {"height": 336, "width": 336},
        "size": {"shortest_edge": 336},
        "resample": 3,
        "rescale_factor": 1 / 255,
        "image_mean": [0.48145466, 0.4578275, 0.40821073],
        "image_std": [0.26862954, 0.26130258, 0.27577711],
    }
    steps = ("do_center_crop", "do_convert_rgb", "do_normalize", "do_rescale", "do_resize")
    _write_json(preprocessing | dict.fromkeys(steps, True), folder / "clip" / "preprocessor_config.json")


def _taps(shape: OfficialShape) -> list[int]:
    """The blocks whose outputs the head reads."""
    return [(i + 1) * shape.depth_blocks // 4 - 1 for i in range(4)]


def _depth_config(shape: OfficialShape) -> DepthAnythingConfig:
    backbone: dict[str, Any] = {
        "hidden_size": shape.depth_width,
        "num_hidden_layers": shape.depth_blocks,
        "num_attention_heads": shape.depth_heads,
        "image_size": shape.depth_side,
        "patch_size": 14,
        "reshape_hidden_states": False,
        "out_indices": [tap + 1 for tap in _taps(shape)],
    }
    return DepthAnythingConfig(
        backbone_config=Dinov2Config(**backbone),
        reassemble_hidden_size=shape.depth_width,
        neck_hidden_sizes=list(shape.necks),
        fusion_hidden_size=shape.features,
    )


def _tensors(shape: OfficialShape, clip: CLIPVisionConfig, device: str) -> Iterator[tuple[str, Tensor]]:
    """Every tensor of the checkpoint under its released name."""
    dtype = getattr(torch, shape.dtype)
    rng = torch.Generator(device).manual_seed(0)
    text = LlamaConfig(
        hidden_size=shape.width,
        intermediate_size=shape.mlp,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.heads,
        vocab_size=shape.vocabulary,
        tie_word_embeddings=False,
    )
    with torch.device("meta"):
        vlm = LlavaForConditionalGeneration(LlavaConfig(vision_config=clip, text_config=text, image_token_index=0))
        depth = DepthAnythingForDepthEstimation(_depth_config(shape))
    for name, one in vlm.named_parameters():
        old, new = next(((old, new) for old, new in _RENAMED if name.startswith(old)), ("", ""))
        yield new + name.removeprefix(old), _drawn(name, one.shape, rng, dtype)
    stacked: dict[str, list[Tensor]] = {}  # queries, keys and values lie in one tensor
    for name, one in depth.named_parameters():
        released, rows = depth_source(name, tuple(one.shape))
        stacked.setdefault(released, []).append(_drawn(name, one.shape, rng, dtype))
        if rows is None or len(stacked[released]) == 3:
            yield f"depth.{released}", torch.cat(stacked.pop(released))


def _drawn(name: str, size: torch.Size, rng: torch.Generator, dtype: torch.dtype) -> Tensor:
    """Norms and layer scales 1, biases 0, everything else normal with variance 1 / inputs."""
    if len(size) == 1:
        return torch.zeros(size, dtype=dtype) if name.endswith("bias") else torch.ones(size, dtype=dtype)
    spread = 1.0 if "embed" in name or "token" in name else size[1:].numel() ** -0.5
    return (torch.randn(size, generator=rng, device=rng.device, dtype=torch.float32) * spread).to(dtype).cpu()


def _write_weights(tensors: Iterator[tuple[str, Tensor]], folder: Path) -> None:
    """Shards of at most 4 GB and their index, one shard in memory at a time."""
    shards: list[dict[str, Tensor]] = [{}]
    placed: dict[str, str] = {}
    number, held = 1, 0

    def write() -> None:
        save_file(shards[0], folder / f"model-{number:05d}.safetensors", metadata={"format": "pt"})
        shards[0] = {}

    for name, tensor in tensors:
        if held + tensor.nbytes > _SHARD_BYTES and held:
            write()
            number, held = number + 1, 0
        shards[0][name] = tensor
        placed[name] = f"model-{number:05d}.safetensors"
        held += tensor.nbytes
    write()
    _write_json({"metadata": {}, "weight_map": placed}, folder / "model.safetensors.index.json")


def _write_json(values: dict[str, Any], path: Path) -> None:
    path.write_text(json.dumps(values, indent=1) + "\n", encoding="utf-8")
