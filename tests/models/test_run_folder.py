"""What a run leaves loads to the same logits, here and in stock PEFT, or is refused in one line."""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForImageTextToText

from sdvlm.fusion.config import FusionConfig
from sdvlm.models import checkpoint
from sdvlm.models.adapters import add_lora
from sdvlm.models.load import load_from, model_facts
from sdvlm.models.processor import DepthProcessor
from sdvlm.models.run_folder import Base, is_run, load_run, load_weights_into, merge_run, save_run
from sdvlm.models.wrapper import DepthVLM
from sdvlm.types import Camera, DepthMap, SdvlmError

from .conftest import Tiny

pytest.importorskip("peft")

PROJECTOR = {"llava-pad": "model.multi_modal_projector", "qwen2.5-vl": "model.visual.merger"}
MADE_OF = ("adapter_config.json", "adapter_model.safetensors", "config.json")


def make_base(tiny: Tiny, folder: Path, change: float = 0.0) -> Path:
    """A plain model's folder, as a hub has them."""
    tiny.model.save_pretrained(folder)
    tiny.processor.save_pretrained(folder)
    if change:
        file = next(folder.glob("*.safetensors"))
        tensors = load_file(file)
        name = next(name for name in tensors if "layers.1.mlp.up_proj" in name)
        save_file(tensors | {name: tensors[name] + change}, file, metadata={"format": "pt"})
    return folder


def start(base: Path, tiny: Tiny, fusion: str | None, lora: bool = True) -> tuple[DepthVLM, DepthProcessor]:
    torch.manual_seed(1)
    model = DepthVLM.from_vlm(base, fusion)
    processor = DepthProcessor.for_model(model, tiny.processor)
    if lora:
        add_lora(model, 4, 8, dropout=0.1, trained=[PROJECTOR[tiny.name]])
    return model, processor


def batch_of(processor: DepthProcessor, answer: bool = False) -> dict[str, Any]:
    pixels = (torch.arange(75 * 100 * 3).reshape(75, 100, 3) * 7 % 256).to(torch.uint8).numpy()
    depth = DepthMap(torch.linspace(0.5, 6.0, 75 * 100, dtype=torch.float64).reshape(75, 100).numpy())
    said = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "How far is the chair?"}]}]
    batch = dict(processor(said, images=[pixels], depth=[depth], camera=[Camera.from_fov(100, 75, 60.0)]))
    return batch | ({"labels": batch["input_ids"]} if answer else {})


def train(model: DepthVLM, processor: DepthProcessor, steps: int = 2) -> DepthVLM:
    """A few steps of plain gradient descent."""
    batch = batch_of(processor, answer=True)
    chosen = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.SGD(chosen, lr=0.5)
    model.train()
    for _ in range(steps):
        optimizer.zero_grad()
        model(**batch).loss.backward()
        optimizer.step()
    return model.eval()


@torch.no_grad()
def logits(model: Any, batch: dict[str, Any]) -> torch.Tensor:
    return model(**batch).logits


@pytest.fixture(scope="module", params=list(PROJECTOR))
def tiny(request: pytest.FixtureRequest, tinies: dict[str, Tiny]) -> Tiny:
    return tinies[request.param]


@pytest.fixture(scope="module")
def base(tiny: Tiny, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_base(tiny, tmp_path_factory.mktemp("bases") / tiny.name)


@pytest.fixture(scope="module")
def trained(tiny: Tiny, base: Path) -> tuple[DepthVLM, DepthProcessor, Path]:
    """A model after some steps, and its run's folder; both to be left as they are."""
    model, processor = start(base, tiny, "gated")
    train(model, processor)
    run = base.parent / f"run-{tiny.name}"
    save_run(run, model, processor, Base(str(base)))
    return model, processor, run


@pytest.fixture
def run(trained: tuple[DepthVLM, DepthProcessor, Path], base: Path, tmp_path: Path) -> Path:
    """A copy of the run's folder, and of its base beside it, to be damaged."""
    shutil.copytree(base, tmp_path / base.name)
    return Path(shutil.copytree(trained[2], tmp_path / "run"))


def test_a_saved_run_loads_to_the_same_logits_bit_for_bit(
    trained: tuple[DepthVLM, DepthProcessor, Path], base: Path
) -> None:
    model, processor, folder = trained
    batch = batch_of(processor)
    wanted = logits(model, batch)
    assert not torch.allclose(wanted, logits(DepthVLM.from_vlm(base, "gated").eval(), batch), atol=1e-2)
    assert all((folder / name).is_file() for name in (*MADE_OF, "fusion.safetensors", "processor_config.json"))
    again = DepthVLM.from_pretrained(folder)
    assert torch.equal(logits(again, batch_of(DepthProcessor.from_pretrained(folder))), wanted)
    asked, its_own = load_from(str(folder), "cpu")
    assert torch.equal(logits(asked, batch_of(its_own)), wanted)
    assert model_facts(str(folder)).fusion == model.config.fusion_settings


def test_stock_peft_gives_the_same_logits_on_the_plain_base(
    trained: tuple[DepthVLM, DepthProcessor, Path], base: Path
) -> None:
    from peft import AutoPeftModel, PeftModel

    model, processor, folder = trained
    batch = batch_of(processor)
    del batch["depth_grid"]
    wanted = logits(model, batch)
    stock = PeftModel.from_pretrained(AutoModelForImageTextToText.from_pretrained(base), folder).eval()
    assert torch.equal(logits(stock, batch), wanted)
    assert torch.equal(logits(AutoPeftModel.from_pretrained(folder).eval(), batch), wanted)


def test_a_merged_run_is_a_plain_model_with_the_same_logits(
    trained: tuple[DepthVLM, DepthProcessor, Path], tmp_path: Path
) -> None:
    model, _, folder = trained
    assert merge_run(folder, tmp_path / "merged") == 14
    assert not is_run(tmp_path / "merged")
    merged, its_own = load_from(str(tmp_path / "merged"), "cpu")
    batch = batch_of(its_own)
    torch.testing.assert_close(logits(merged, batch), logits(model, batch), atol=1e-5, rtol=1e-4)
    with pytest.raises(SdvlmError, match="nothing to merge"):
        merge_run(tmp_path / "merged", tmp_path / "again")
    with pytest.raises(SdvlmError, match="is there already"):
        merge_run(folder, tmp_path / "merged")


@pytest.mark.parametrize("fusion", ["dpe", "concat", "adapter", "depth_prompt", None])
def test_every_kind_of_fusion_comes_back(base: Path, tiny: Tiny, fusion: str | None, tmp_path: Path) -> None:
    model, processor = start(base, tiny, fusion)
    batch = batch_of(processor) if fusion is not None else {}
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn_like(parameter) * 0.05)
    save_run(tmp_path / "run", model, processor, Base(str(base)))
    assert (tmp_path / "run" / "fusion.safetensors").exists() == (fusion in ("concat", "adapter"))
    again = DepthVLM.from_pretrained(tmp_path / "run")
    for name, tensor in model.state_dict().items():
        assert torch.equal(again.state_dict()[name], tensor), name
    if batch:
        assert torch.equal(logits(again, batch), logits(model.eval(), batch))


def test_a_run_on_a_model_with_depth_keeps_its_language_model_and_replaces_its_fusion(
    base: Path, tiny: Tiny, tmp_path: Path
) -> None:
    with_depth, _ = start(base, tiny, "mlp", lora=False)
    save_run(tmp_path / "base", with_depth, None, Base(str(base)))
    model = DepthVLM.from_vlm(DepthVLM.from_pretrained(tmp_path / "base").vlm, "gated")
    processor = DepthProcessor.for_model(model, tiny.processor)
    add_lora(model, 4, 8)
    train(model, processor)
    save_run(tmp_path / "run", model, processor, Base(str(tmp_path / "base")))
    again = DepthVLM.from_pretrained(tmp_path / "run")
    assert again.config.fusion["name"] == "gated"
    assert torch.equal(logits(again, batch_of(processor)), logits(model, batch_of(processor)))


def test_without_adapters_the_folder_is_a_plain_model_with_depth(base: Path, tiny: Tiny, tmp_path: Path) -> None:
    model, processor = start(base, tiny, "gated", lora=False)
    save_run(tmp_path / "run", train(model, processor), processor, Base(str(base)))
    assert not is_run(tmp_path / "run")
    again, its_own = load_from(str(tmp_path / "run"), "cpu")
    assert torch.equal(logits(again, batch_of(its_own)), logits(model, batch_of(processor)))
    fresh, _ = start(base, tiny, "gated", lora=False)
    load_weights_into(fresh, tmp_path / "run")
    assert torch.equal(logits(fresh.eval(), batch_of(its_own)), logits(model, batch_of(processor)))


def test_training_goes_on_from_a_run_as_if_it_had_not_stopped(
    trained: tuple[DepthVLM, DepthProcessor, Path], base: Path, tiny: Tiny
) -> None:
    model, processor, folder = trained
    fresh, _ = start(base, tiny, "gated")
    load_weights_into(fresh, folder)
    assert torch.equal(logits(fresh.eval(), batch_of(processor)), logits(model, batch_of(processor)))
    learned = {name for name, parameter in fresh.named_parameters() if parameter.requires_grad}
    assert learned == {name for name, parameter in model.named_parameters() if parameter.requires_grad}


@pytest.mark.parametrize(
    ("other", "said"),
    [
        (lambda base, tiny: start(base, tiny, "mlp")[0], "another fusion"),
        (lambda base, tiny: start(base, tiny, "gated", lora=False)[0], "this model has none"),
        (lambda base, tiny: _adapted(base, 8, 8, [PROJECTOR[tiny.name]]), "trained with r 4, not 8"),
        (lambda base, tiny: _adapted(base, 4, 16, [PROJECTOR[tiny.name]]), "trained with lora_alpha 8, not 16"),
        (lambda base, tiny: _adapted(base, 4, 8, []), "in full, not nothing"),
    ],
)
def test_a_run_set_up_in_another_way_is_not_resumed(
    trained: tuple[DepthVLM, DepthProcessor, Path],
    base: Path,
    tiny: Tiny,
    other: Callable[[Path, Tiny], DepthVLM],
    said: str,
) -> None:
    with pytest.raises(SdvlmError, match=said):
        load_weights_into(other(base, tiny), trained[2])


def _adapted(base: Path, r: int, alpha: int, full: list[str]) -> DepthVLM:
    model = DepthVLM.from_vlm(base, "gated")
    add_lora(model, r, alpha, trained=full)
    return model


@pytest.mark.parametrize("file", ["adapter_model.safetensors", "fusion.safetensors"])
def test_tensors_missing_left_over_or_misshapen_are_named(run: Path, file: str) -> None:
    good = load_file(run / file)
    name = sorted(good)[0]
    for bad, said in (
        ({key: value for key, value in good.items() if key != name}, f"1 missing \\({name}"),
        (good | {"more": torch.zeros(2)}, "1 left over \\(more"),
        (good | {name: torch.zeros(3, 5)}, f"1 misshapen \\({name}"),
    ):
        save_file(bad, run / file)
        with pytest.raises(SdvlmError, match=said) as stopped:
            load_run(run)
        assert "\n" not in str(stopped.value)


def test_a_gathered_state_is_saved_in_place_of_the_models_own(
    trained: tuple[DepthVLM, DepthProcessor, Path], base: Path, tmp_path: Path
) -> None:
    model, _, folder = trained
    gathered = {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}
    same, other = tmp_path / "same", tmp_path / "other"
    save_run(same, model, None, Base(str(base)), gathered)
    for file in ("adapter_model.safetensors", "fusion.safetensors"):
        assert (same / file).read_bytes() == (folder / file).read_bytes()
    name = next(name for name in gathered if ".lora_B." in name)
    save_run(other, model, None, Base(str(base)), gathered | {name: gathered[name] + 1})
    assert torch.equal(load_run(other).state_dict()[name], gathered[name] + 1)
    with pytest.raises(SdvlmError, match="lacks 1 trained tensors"):
        save_run(other, model, None, Base(str(base)), {key: value for key, value in gathered.items() if key != name})
    assert torch.equal(load_run(other).state_dict()[name], gathered[name] + 1)


@pytest.mark.parametrize("file", ["adapter_config.json", "adapter_model.safetensors", "fusion.safetensors"])
def test_half_of_a_run_is_refused(run: Path, file: str) -> None:
    whole = (run / file).read_bytes()
    (run / file).unlink()
    with pytest.raises(SdvlmError, match=f"has no {file}: half of a run"):
        DepthVLM.from_pretrained(run)
    (run / file).write_bytes(whole[: len(whole) // 2])
    with pytest.raises(SdvlmError) as stopped:
        DepthVLM.from_pretrained(run)
    assert "\n" not in str(stopped.value)


def test_run_and_base_move_together_and_another_base_is_refused(
    run: Path, base: Path, tiny: Tiny, trained: tuple[DepthVLM, DepthProcessor, Path], tmp_path: Path
) -> None:
    model, processor, _ = trained
    assert json.loads((run / "config.json").read_text())["base"]["model"] == f"../{base.name}"
    assert torch.equal(logits(load_run(run), batch_of(processor)), logits(model, batch_of(processor)))
    shutil.rmtree(tmp_path / base.name)
    changed = make_base(tiny, tmp_path / base.name, change=0.25)
    with pytest.raises(SdvlmError, match=r"another model than the one at .*model.safetensors is not what"):
        load_run(run)
    assert torch.equal(logits(load_run(run, base=base), batch_of(processor)), logits(model, batch_of(processor)))
    shutil.rmtree(changed)
    assert torch.equal(logits(load_run(run), batch_of(processor)), logits(model, batch_of(processor)))  # where it was
    settings = json.loads((run / "adapter_config.json").read_text())
    (run / "adapter_config.json").write_text(json.dumps(settings | {"base_model_name_or_path": "gone"}))
    with pytest.raises(SdvlmError, match="which is not there; say where it is now"):
        load_run(run)


def test_a_base_in_the_hub_cache_is_pinned_to_its_commit(
    trained: tuple[DepthVLM, DepthProcessor, Path], base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    model, processor, _ = trained
    commit = "0123456789abcdef0123456789abcdef01234567"
    cache = tmp_path / "cache" / "models--some--vlm"
    shutil.copytree(base, cache / "snapshots" / commit)
    save_run(tmp_path / "run", model, processor, Base("some/vlm", commit))
    told = json.loads((tmp_path / "run" / "config.json").read_text())["base"]
    assert (told["model"], told["revision"]) == ("some/vlm", commit)
    assert json.loads((tmp_path / "run" / "adapter_config.json").read_text())["revision"] == commit
    again = load_run(tmp_path / "run", cache_dir=tmp_path / "cache", local_files_only=True)
    assert torch.equal(logits(again, batch_of(processor)), logits(model, batch_of(processor)))


def test_a_bfloat16_base_comes_back_in_bfloat16_with_adapters_in_float32(
    base: Path, tiny: Tiny, tmp_path: Path
) -> None:
    model = DepthVLM.from_vlm(base, "gated", dtype=torch.bfloat16)
    processor = DepthProcessor.for_model(model, tiny.processor)
    add_lora(model, 4, 8)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if ".lora_" in name:
                parameter.add_(torch.randn_like(parameter) * 0.05)
    save_run(tmp_path / "run", model, processor, Base(str(base)))
    again = DepthVLM.from_pretrained(tmp_path / "run")
    assert {name: p.dtype for name, p in again.named_parameters()} == {
        name: p.dtype for name, p in model.named_parameters()
    }
    assert torch.equal(logits(again, batch_of(processor)), logits(model.eval(), batch_of(processor)))


def save_and_die(folder: Path, call: str, after: int) -> int:
    """A process of its own that saves into ``folder`` and is killed at a call of ``os.<call>``; the signal it got."""
    child = os.fork()
    if child == 0:
        real, seen = getattr(os, call), []

        def deadly(*arguments: Any) -> Any:
            seen.append(arguments)
            if len(seen) > after:
                os.kill(os.getpid(), signal.SIGKILL)
            return real(*arguments)

        setattr(os, call, deadly)
        try:
            with checkpoint.written_whole(folder) as new:
                for name in (*MADE_OF, "fusion.safetensors"):
                    (new / name).write_text(f"new {name}")
        finally:
            os._exit(1)
    return os.WTERMSIG(os.waitpid(child, 0)[1])


@pytest.mark.parametrize(
    ("call", "after", "left"),
    [("rename", 0, "old"), ("replace", 0, "new"), ("replace", 2, "new"), ("replace", 3, "new")],
)
def test_a_kill_while_saving_leaves_the_old_run_or_the_new_one(
    tmp_path: Path, call: str, after: int, left: str
) -> None:
    for name in (*MADE_OF, "fusion.safetensors", "model.safetensors"):
        (tmp_path / name).write_text(f"old {name}")
    assert save_and_die(tmp_path, call, after) == signal.SIGKILL
    checkpoint.finish_saving(tmp_path)
    found = {path.name: path.read_text() for path in tmp_path.iterdir() if path.is_file()}
    names = [*MADE_OF, "fusion.safetensors"] + ["model.safetensors"] * (left == "old")
    assert found == {name: f"{left} {name}" for name in names}


def test_what_a_kill_left_half_written_is_cleared_by_a_later_save(tmp_path: Path) -> None:
    for name, age in ((".saving-old", 7200), (".saving-now", 0)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "model.safetensors").write_text("half")
        for path in (tmp_path / name / "model.safetensors", tmp_path / name):
            os.utime(path, (time.time() - age, time.time() - age))
    with checkpoint.written_whole(tmp_path) as new:
        (new / "config.json").write_text("{}")
    assert {path.name for path in tmp_path.iterdir()} == {".saving-now", "config.json"}  # which may be another's


def test_a_full_disk_is_one_line_and_leaves_the_old_run(
    run: Path, base: Path, trained: tuple[DepthVLM, DepthProcessor, Path]
) -> None:
    before = {path.name: path.read_bytes() for path in run.iterdir()}
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))  # no file can grow beyond: writing fails as on a full disk
    try:
        with pytest.raises(SdvlmError, match=r"cannot save .* what it held before is unchanged") as stopped:
            save_run(run, *trained[:2], Base(str(base)))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert "\n" not in str(stopped.value)
    assert {path.name: path.read_bytes() for path in run.iterdir()} == before


def test_a_run_in_place_of_a_plain_model_leaves_none_of_its_weights(base: Path, tiny: Tiny, tmp_path: Path) -> None:
    plain, processor = start(base, tiny, "gated", lora=False)
    save_run(tmp_path / "run", plain, processor, Base(str(base)))
    model, _ = start(base, tiny, "gated")
    save_run(tmp_path / "run", model, processor, Base(str(base)))
    assert is_run(tmp_path / "run")
    assert not (tmp_path / "run" / "model.safetensors").exists()
    save_run(tmp_path / "run", plain, processor, Base(str(base)))
    assert not is_run(tmp_path / "run")
    assert not list((tmp_path / "run").glob("adapter*"))
    with pytest.raises(SdvlmError, match="no run with adapters"):
        load_run(tmp_path / "run")


def test_a_base_shipped_with_the_package_is_found_wherever_the_package_is(tmp_path: Path) -> None:
    import sdvlm
    from sdvlm.models.base_model import describe_base, find_base

    nano = Path(sdvlm.__file__).parent / "nano" / "weights"
    told = describe_base(Base(str(nano)), tmp_path)
    assert told["model"] == "sdvlm:nano/weights"
    assert Path(find_base(told, tmp_path, "").model) == nano


def test_settings_of_a_fusion_without_weights_count_too(base: Path, tiny: Tiny, tmp_path: Path) -> None:
    model, processor = start(base, tiny, None)
    model = DepthVLM.from_vlm(model.vlm.__class__.from_pretrained(base), FusionConfig("dpe", scale=7.0))
    add_lora(model, 4, 8)
    save_run(tmp_path / "run", model, processor, Base(str(base)))
    assert load_run(tmp_path / "run").config.fusion_settings.scale == 7.0
    other = DepthVLM.from_vlm(base, FusionConfig("dpe", scale=8.0))
    add_lora(other, 4, 8)
    with pytest.raises(SdvlmError, match="another fusion"):
        load_weights_into(other, tmp_path / "run")
