"""Importing: the same model in our own layout, written whole or not at all, in little memory."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open
from transformers import AutoImageProcessor, AutoModelForDepthEstimation, AutoProcessor

from sdvlm.models.official import convert, import_official, load_official, official_processor
from sdvlm.models.processor import DepthProcessor
from sdvlm.models.wrapper import DepthVLM
from sdvlm.types import SdvlmError

from .conftest import Make, whole_state


def same(first: Any, second: Any) -> bool:
    a, b = first.state_dict(), second.state_dict()
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


@pytest.mark.parametrize(("suffix", "shards"), [("safetensors", 1), ("bin", 2)])
@pytest.mark.parametrize("most", [10**9, 20_000])
def test_what_is_imported_loads_as_what_it_was_made_from(
    make: Make, tmp_path: Path, suffix: str, shards: int, most: int
) -> None:
    source, out = make(suffix=suffix, shards=shards), tmp_path / "deep" / "own"
    report = import_official(source, out, max_shard_bytes=most)
    first, second = load_official(source), DepthVLM.from_pretrained(out)
    assert same(first, second)
    assert second.dtype == torch.float16
    assert {n: b.tolist() for n, b in first.named_buffers()} == {n: b.tolist() for n, b in second.named_buffers()}
    for field in ("fusion", "estimator", "conversation"):
        assert getattr(first.config, field) == getattr(second.config, field)
    assert second.generation_config.eos_token_id == 2
    image = np.random.default_rng(0).integers(0, 256, (33, 47, 3), dtype=np.uint8)
    ours, theirs = official_processor(source), DepthProcessor.from_pretrained(out)
    assert same(ours.estimator.model, theirs.estimator.model)
    np.testing.assert_array_equal(ours.estimator.raw([image])[0].values, theirs.estimator.raw([image])[0].values)
    batches = [one(text="<image>\n a low tree", images=image) for one in (ours, theirs)]
    assert all(torch.equal(batches[0][name], batches[1][name]) for name in batches[0])
    assert set(report.files) == {str(f.relative_to(out)) for f in out.rglob("*") if f.is_file()}
    assert (len(list(out.glob("model-*.safetensors"))) > 1) == (most < 10**9)
    assert (report.dtype, report.pooling, report.depth_tensors > 100) == ("float16", "unpadded", True)
    assert any("depth_projector" in note for note in report.notes)
    assert not list(tmp_path.glob("deep/.*"))


def test_weights_keep_their_bits_and_dtype_and_lie_aligned(make: Make, tmp_path: Path) -> None:
    state = whole_state()
    clip = next(name for name in state if name.endswith("post_layernorm.weight"))
    state[clip] = state[clip].float() + 1e-6  # a tower in another dtype
    out = tmp_path / "own"
    import_official(make(state=state), out)
    with safe_open(out / "model.safetensors", "pt") as file:
        assert torch.equal(file.get_tensor("vlm.model.vision_tower.post_layernorm.weight"), state[clip])
        assert file.get_tensor("vlm.lm_head.weight").dtype == torch.float16
    data = (out / "model.safetensors").read_bytes()
    size = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + size])
    assert size % 8 == 0
    widths = {"F32": 4, "F16": 2}
    assert all(one["data_offsets"][0] % widths[one["dtype"]] == 0 for n, one in header.items() if n != "__metadata__")


def test_the_parts_are_stock_checkpoints(make: Make, tmp_path: Path) -> None:
    out = tmp_path / "own"
    import_official(make(), out)
    depth = AutoModelForDepthEstimation.from_pretrained(out / "depth", dtype=torch.float32)
    assert same(depth, official_processor(out.parent / "checkpoint").estimator.model)
    assert AutoImageProcessor.from_pretrained(out / "depth", backend="pil").ensure_multiple_of == 14
    processor = AutoProcessor.from_pretrained(out)
    content = [{"type": "image"}, {"type": "text", "text": "a low tree"}]
    said = processor.apply_chat_template([{"role": "user", "content": content}], add_generation_prompt=True)
    assert said.startswith("A chat between a curious user")
    assert said.endswith(" USER: <image>\na low tree ASSISTANT:")


def test_the_pooling_of_the_import_is_what_the_copy_uses(make: Make, tmp_path: Path) -> None:
    import_official(make(), tmp_path / "own", pooling="boxes")
    assert DepthProcessor.from_pretrained(tmp_path / "own").fusion.pooling == "boxes"


def test_nothing_is_left_behind_by_an_import_that_fails(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, out = make(), tmp_path / "own"
    out.mkdir()
    before = sorted(tmp_path.iterdir())

    def fail(*_: Any) -> Any:
        raise OSError("disk full")

    monkeypatch.setattr(convert, "generation_settings", fail)  # after the weights
    with pytest.raises(OSError, match="disk full"):
        import_official(folder, out)
    assert sorted(tmp_path.iterdir()) == before
    assert not list(out.iterdir())


def test_a_folder_that_holds_something_is_not_written_over(make: Make, tmp_path: Path) -> None:
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "notes.txt").write_text("mine")
    with pytest.raises(SdvlmError, match="is there already; give a folder that does not exist yet"):
        import_official(make(), tmp_path / "own")
    assert (tmp_path / "own" / "notes.txt").read_text() == "mine"


_MEASURE = """
import resource, sys
from sdvlm.models.official import import_official
tiny, *sources = sys.argv[1:]
import_official(tiny, tiny + "-own")  # everything is imported and warm now
used = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
for source in sources:
    before = used()
    import_official(source, source + "-own")
    print(used() - before)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="there is no getrusage here")
def test_memory_stays_far_below_the_size_of_the_checkpoint(make: Make) -> None:
    width, inner, layers = 512, 4096, 12
    shapes = {"model.embed_tokens.weight": (300, width), "lm_head.weight": (300, width), "model.norm.weight": (width,)}
    shapes |= {"model.mm_projector.0.weight": (width, 16), "model.mm_projector.2.weight": (width, width)}
    shapes |= {"model.mm_projector.0.bias": (width,), "model.mm_projector.2.bias": (width,)}
    for i in range(layers):
        stem = f"model.layers.{i}."
        shapes |= {f"{stem}self_attn.{one}_proj.weight": (width, width) for one in "qkvo"}
        shapes |= {f"{stem}mlp.{one}_proj.weight": (inner, width) for one in ("gate", "up")}
        shapes |= {f"{stem}mlp.down_proj.weight": (width, inner)}
        shapes |= {f"{stem}{one}_layernorm.weight": (width,) for one in ("input", "post_attention")}
    state = {n: v for n, v in whole_state().items() if n.startswith(("depth", "model.vision_tower"))}
    state |= {name: torch.ones(shape, dtype=torch.float16) for name, shape in shapes.items()}
    config = {"hidden_size": width, "intermediate_size": inner, "num_hidden_layers": layers}
    sources = [make(suffix, state, suffix=suffix, **config) for suffix in ("safetensors", "bin")]
    size = sum(value.nbytes for value in state.values())
    assert size > 170e6
    command = [sys.executable, "-c", _MEASURE, make("small"), *sources]
    done = subprocess.run([str(one) for one in command], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    grown = [int(line) for line in done.stdout.split()]
    assert len(grown) == 2
    assert max(grown) < 0.7 * size  # 1.2 were allowed
