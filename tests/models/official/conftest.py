"""Tiny checkpoints in the official layout, written by hand in its own names, so that no code under test makes them."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

WIDTH, HEADS, MLP, LAYERS, VOCABULARY = 24, 2, 40, 2, 300
CLIP, CLIP_MLP, CLIP_LAYERS, SIDE = 16, 32, 3, 28
DEPTH, BLOCKS, FEATURES, NECKS, CELLS = 12, 4, 8, (4, 6, 8, 10), 3
CONFIG: dict[str, Any] = {
    "architectures": ["LlavaLlamaForCausalLM"],
    "model_type": "llava_llama",
    "hidden_size": WIDTH,
    "intermediate_size": MLP,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": HEADS,
    "num_key_value_heads": HEADS,
    "vocab_size": VOCABULARY,
    "rms_norm_eps": 1e-5,
    "rope_theta": 10000.0,
    "max_position_embeddings": 512,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 0,
    "hidden_act": "silu",
    "mm_hidden_size": CLIP,
    "mm_projector_type": "mlp2x_gelu",
    "mm_vision_tower": "tower",
    "mm_vision_select_layer": -2,
    "mm_vision_select_feature": "patch",
    "image_aspect_ratio": "pad",
    "tokenizer_model_max_length": 512,
    "use_depth": True,
    "torch_dtype": "float16",
}
CLIP_CONFIG = {
    "model_type": "clip_vision_model",
    "hidden_size": CLIP,
    "intermediate_size": CLIP_MLP,
    "num_hidden_layers": CLIP_LAYERS,
    "num_attention_heads": 2,
    "image_size": SIDE,
    "patch_size": 14,
    "hidden_act": "quick_gelu",
}
DEPTH_CONFIG = {"num_heads": 2, "intermediate_layer_idx": [0, 1, 2, 3], "input_size": 42, "interpolate_offset": 0.1}
TOWER = "model.vision_tower.vision_tower."


def language_shapes() -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {
        "model.embed_tokens.weight": (VOCABULARY, WIDTH),
        "model.norm.weight": (WIDTH,),
        "lm_head.weight": (VOCABULARY, WIDTH),
        "model.mm_projector.0.weight": (WIDTH, CLIP),
        "model.mm_projector.0.bias": (WIDTH,),
        "model.mm_projector.2.weight": (WIDTH, WIDTH),
        "model.mm_projector.2.bias": (WIDTH,),
    }
    for i in range(LAYERS):
        stem = f"model.layers.{i}."
        shapes |= {f"{stem}self_attn.{one}_proj.weight": (WIDTH, WIDTH) for one in "qkvo"}
        shapes |= {f"{stem}mlp.{one}_proj.weight": (MLP, WIDTH) for one in ("gate", "up")}
        shapes |= {f"{stem}mlp.down_proj.weight": (WIDTH, MLP)}
        shapes |= {f"{stem}{one}_layernorm.weight": (WIDTH,) for one in ("input", "post_attention")}
    return shapes


def _affine(name: str, *shape: int) -> dict[str, tuple[int, ...]]:
    return {f"{name}.weight": shape, f"{name}.bias": shape[:1]}


def clip_shapes() -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {
        "vision_model.embeddings.class_embedding": (CLIP,),
        "vision_model.embeddings.patch_embedding.weight": (CLIP, 3, 14, 14),
        "vision_model.embeddings.position_embedding.weight": ((SIDE // 14) ** 2 + 1, CLIP),
        **_affine("vision_model.pre_layrnorm", CLIP),
        **_affine("vision_model.post_layernorm", CLIP),
    }
    for i in range(CLIP_LAYERS):
        stem = f"vision_model.encoder.layers.{i}."
        for one in ("k", "v", "q", "out"):
            shapes |= _affine(f"{stem}self_attn.{one}_proj", CLIP, CLIP)
        shapes |= _affine(f"{stem}mlp.fc1", CLIP_MLP, CLIP) | _affine(f"{stem}mlp.fc2", CLIP, CLIP_MLP)
        shapes |= _affine(f"{stem}layer_norm1", CLIP) | _affine(f"{stem}layer_norm2", CLIP)
    return shapes


def depth_shapes(
    width: int = DEPTH, blocks: int = BLOCKS, necks: tuple[int, ...] = NECKS, features: int = FEATURES
) -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {
        "pretrained.cls_token": (1, 1, width),
        "pretrained.pos_embed": (1, CELLS**2 + 1, width),
        "pretrained.mask_token": (1, width),
        **_affine("pretrained.patch_embed.proj", width, 3, 14, 14),
        **_affine("pretrained.norm", width),
    }
    for i in range(blocks):
        stem = f"pretrained.blocks.{i}."
        shapes |= _affine(f"{stem}norm1", width) | _affine(f"{stem}norm2", width)
        shapes |= _affine(f"{stem}attn.qkv", 3 * width, width) | _affine(f"{stem}attn.proj", width, width)
        shapes |= _affine(f"{stem}mlp.fc1", 4 * width, width) | _affine(f"{stem}mlp.fc2", width, 4 * width)
        shapes |= {f"{stem}ls1.gamma": (width,), f"{stem}ls2.gamma": (width,)}
    head = "depth_head."
    for i, neck in enumerate(necks):
        shapes |= _affine(f"{head}projects.{i}", neck, width, 1, 1)
        shapes |= {f"{head}scratch.layer{i + 1}_rn.weight": (features, neck, 3, 3)}
        stem = f"{head}scratch.refinenet{i + 1}."
        shapes |= _affine(f"{stem}out_conv", features, features, 1, 1)
        for unit in (1, 2):
            for conv in (1, 2):
                shapes |= _affine(f"{stem}resConfUnit{unit}.conv{conv}", features, features, 3, 3)
    for i, kernel in ((0, 4), (1, 2), (3, 3)):
        shapes |= _affine(f"{head}resize_layers.{i}", necks[i], necks[i], kernel, kernel)
    shapes |= _affine(f"{head}scratch.output_conv1", features // 2, features, 3, 3)
    shapes |= _affine(f"{head}scratch.output_conv2.0", 32, features // 2, 3, 3)
    shapes |= _affine(f"{head}scratch.output_conv2.2", 1, 32, 1, 1)
    return shapes


def random_tensors(shapes: dict[str, tuple[int, ...]], seed: int = 0, dtype: torch.dtype = torch.float16) -> dict:
    """Values that make lively networks: norms about 1, everything else of a size that neither dies nor explodes."""
    generator = torch.Generator().manual_seed(seed)
    out = {}
    for name, shape in shapes.items():
        spread = 0.6 / max(1.0, torch.Size(shape[1:]).numel() ** 0.5) if len(shape) > 1 else 0.1
        value = spread * torch.randn(shape, generator=generator)
        if len(shape) == 1 and name.endswith(("norm.weight", "norm1.weight", "norm2.weight", "gamma")):
            value = value + 1.0
        out[name] = value.to(dtype)
    return out


def whole_state(seed: int = 0) -> dict[str, Tensor]:
    """All that a merged checkpoint holds."""
    shapes = language_shapes() | {TOWER + k: s for k, s in clip_shapes().items()}
    shapes |= {"depth." + k: s for k, s in depth_shapes().items()}
    shapes |= {
        "depth_projector.class_embedding": (WIDTH,),
        "depth_projector.patch_embedding.weight": (WIDTH, 1, 14, 14),
        "depth_projector.position_embedding.weight": (577, WIDTH),
    }
    return random_tensors(shapes, seed)


# the tokenizer: special tokens, bytes, and pieces with the scores that make them merge in this order
MERGED = ["lo", "▁t", "▁tr", "ne", "tr", "▁lo", "nee", "eet", "▁tre", "▁tree", "low", "▁low", "ow"]
LETTERS = "▁aeilnortwxyz."


def pieces() -> list[tuple[str, float, int]]:
    """(text, score, type) as a sentencepiece model lists them."""
    out: list[tuple[str, float, int]] = [("<unk>", 0.0, 2), ("<s>", 0.0, 3), ("</s>", 0.0, 3)]
    out += [(f"<0x{byte:02X}>", 0.0, 6) for byte in range(256)]
    out += [(text, -float(i), 1) for i, text in enumerate(MERGED)]
    return out + [(one, -float(len(MERGED) + i), 1) for i, one in enumerate(LETTERS)]


def sentencepiece_model(kind: int = 2) -> bytes:
    """A ``tokenizer.model``: protocol buffer fields 1 (pieces) and 2 (trainer settings)."""

    def field(number: int, data: bytes) -> bytes:
        return bytes([number << 3 | 2]) + bytes([len(data)]) + data

    out = b""
    for text, score, sort in pieces():
        out += field(1, field(1, text.encode()) + b"\x15" + struct.pack("<f", score) + bytes([0x18, sort]))
    return out + field(2, bytes([0x18, kind]))


TOKENIZER_CONFIG = {
    "add_bos_token": True,
    "legacy": False,
    "bos_token": {"content": "<s>", "lstrip": False},
    "eos_token": "</s>",
    "unk_token": "<unk>",
    "pad_token": "<unk>",
    "tokenizer_class": "LlamaTokenizer",
}

Make = Callable[..., Path]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """``make(name, state=None, shards=1, suffix="safetensors", files={...}, **config)``: an official checkpoint."""

    def build(
        name: str = "checkpoint",
        state: dict[str, Tensor] | None = None,
        shards: int = 1,
        suffix: str = "safetensors",
        files: dict[str, Any] | None = None,
        **config: Any,
    ) -> Path:
        folder = tmp_path / name
        folder.mkdir()
        wanted = {k: v for k, v in (CONFIG | config).items() if v is not ...}
        contents: dict[str, Any] = {
            "config.json": wanted,
            "depth_config.json": DEPTH_CONFIG,
            "tokenizer.model": sentencepiece_model(),
            "tokenizer_config.json": TOKENIZER_CONFIG,
            "generation_config.json": {"temperature": 0.9, "top_p": 0.6, "eos_token_id": 2},
        }
        write_files(folder, contents | (files or {}))
        tower = tmp_path / "tower"
        if not tower.exists():
            tower.mkdir()
            write_files(tower, {"config.json": CLIP_CONFIG})
        write_weights(folder, whole_state() if state is None else state, shards, suffix)
        return folder

    return build


def write_files(folder: Path, contents: dict[str, Any]) -> None:
    for name, content in contents.items():
        if isinstance(content, bytes):
            (folder / name).write_bytes(content)
        elif content is not None:
            (folder / name).write_text(json.dumps(content))


def write_weights(folder: Path, state: dict[str, Tensor], shards: int = 1, suffix: str = "safetensors") -> None:
    stem = "model" if suffix == "safetensors" else "pytorch_model"
    names = list(state)
    where = {}
    for i in range(shards):
        part = {k: state[k] for k in names[i::shards]}
        name = f"{stem}.{suffix}" if shards == 1 else f"{stem}-{i + 1:05}-of-{shards:05}.{suffix}"
        if suffix == "safetensors":
            save_file(part, folder / name, metadata={"format": "pt"})
        else:
            torch.save(part, folder / name)
        where |= dict.fromkeys(part, name)
    if shards > 1:
        (folder / f"{stem}.{suffix}.index.json").write_text(json.dumps({"weight_map": where}))
