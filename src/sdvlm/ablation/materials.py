"""What all cells share, made once a folder: rooms, the frozen tower's features, the estimator, the common start.

Every file is written whole or not at all and is not made again, so an interrupted ablation goes on with the same
command, and several processes can work on one folder.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from sdvlm.ablation.config import AblationConfig
from sdvlm.ablation.draw import Draws
from sdvlm.ablation.estimate import predict, quality, train_head
from sdvlm.ablation.exam import make_exam
from sdvlm.ablation.learn import Learner
from sdvlm.ablation.prefix import PrefixMaker
from sdvlm.ablation.rooms import Rooms, read_rooms, views, write_rooms
from sdvlm.ablation.sources import DepthSource, estimated, noisy, true_depth
from sdvlm.ablation.store import read_json, write_json
from sdvlm.engine import EngineConfig, run_jobs
from sdvlm.fusion.depth_grid import CHANNELS
from sdvlm.fusion.pool import pool_depth
from sdvlm.models.processor import DepthProcessor
from sdvlm.models.wrapper import DepthVLM
from sdvlm.nano import NANO_FOLDER
from sdvlm.nano.optimise import save_whole
from sdvlm.nano.train_tower import normalise
from sdvlm.types import SdvlmError

__all__ = ["TRAIN_SEED", "Materials", "open_materials", "plain_model", "prepare"]

log = logging.getLogger(__name__)

TRAIN_SEED = 2_000_000
"""first seed of the training rooms"""
ROOMS_A_SHARD = 32
Progress = Callable[[str], None]


@dataclass(frozen=True, eq=False)
class Materials:
    """Read from a prepared folder.

    Args:
        config: of the ablation.
        model: folder of the model that everything starts from; None: the shipped nano.
        base: weights of the common start.
        train, exam: rooms to learn from, rooms to be asked about.
        features: (F, 1 + N, Dv) of the frozen tower for ``train``.
        packed: (F, N, C) true depth of the token boxes of ``train``.
        log_z: (F, n, n) estimates in log metres by part, "train" and "exam".
    """

    config: AblationConfig
    model: Path | None
    base: Path
    train: Rooms
    exam: Rooms
    features: Tensor
    packed: Tensor
    log_z: dict[str, Tensor]

    def source(self, part: str, depth: str, noise_m: float = 0.0) -> DepthSource:
        """Depth of the pictures of "train" or "exam": ``true``, ``estimate`` or ``noise``."""
        rooms: Rooms = getattr(self, part)
        side, patches = rooms.pictures.shape[1], self.log_z[part].shape[1]
        if depth == "true":
            return true_depth(rooms, self.packed if part == "train" else None)
        if depth == "estimate":
            return estimated(self.log_z[part].numpy(), side)
        return noisy(rooms, noise_m, patches, self.config.seed + (part == "exam"))

    def start(self) -> tuple[Any, Any]:
        """The vision-language model that every cell starts from, without fusion, and its processor."""
        model, processor = plain_model(self.model)
        model.vlm.load_state_dict(load_file(self.base), strict=False)
        model.vlm.tie_weights()
        return model.vlm, processor.processor


def plain_model(folder: Path | None) -> tuple[DepthVLM, DepthProcessor]:
    """A model of the nano kind with its fusion removed, float32, and its processor.

    Raises:
        SdvlmError: it cannot be loaded, or is of another kind.
    """
    place = folder or NANO_FOLDER
    loaded = DepthVLM.from_pretrained(place, dtype=torch.float32)
    processor = DepthProcessor.from_pretrained(place)
    if loaded.vlm.config.model_type != "llava" or loaded.vlm.config.text_config.model_type != "llama":
        raise SdvlmError(f"{folder} is no LLaVA with a Llama, as nano is; the ablation trains only such models")
    model = DepthVLM.from_vlm(loaded.vlm, None)
    return model.train(False), DepthProcessor.for_model(model, processor.processor)


def side_of(model: DepthVLM) -> int:
    """Side of the square that a nano model sees, in pixels."""
    return int(model.config.vlm_config.vision_config.image_size)


def prepare(
    out: Path,
    config: AblationConfig,
    model: Path | None = None,
    engine: EngineConfig | None = None,
    progress: Progress | None = None,
) -> None:
    """Make what is missing in ``out``.

    Raises:
        SdvlmError: ``out`` holds another ablation, or the model cannot be used.
    """
    say = progress or (lambda _: None)
    _claim(out, config, model)
    plain, processor = plain_model(model)
    side = side_of(plain)
    shards = _shards(out, config)
    missing = [(path.name, (path, index)) for index, path in enumerate(shards) if not path.exists()]
    for result in run_jobs(missing, partial(_make_shard, config, side), engine):
        if result.error is not None:
            raise SdvlmError(f"{result.key}: {result.error}")
        say(f"made {result.key}")
    exam_path = out / "data" / "exam.safetensors"
    if not exam_path.exists():
        write_rooms(exam_path, make_exam(config, side))
        say("made the exam")
    parts = {"train": shards, "exam": [exam_path]}
    for part, paths in parts.items():
        place = out / "data" / f"features-{part}.safetensors"
        if not place.exists():
            save_whole({"features": tower_features(plain, read_rooms(paths))}, place)
            say(f"made the tower's features of the {part} pictures")
        place = out / "data" / f"grids-{part}.safetensors"
        if not place.exists():
            save_whole({"grids": pooled_depth(processor, read_rooms(paths))}, place)
            say(f"pooled the depth of the {part} pictures")
    if not (out / "estimator.json").exists():
        _make_estimates(out, config)
        say("trained the depth estimator")
    base = out / "base.safetensors"
    if not base.exists():
        _make_base(base, config, plain, processor, read_rooms(shards), _features(out, "train"), say)


def open_materials(out: Path, config: AblationConfig, model: Path | None = None) -> Materials:
    """What :func:`prepare` made."""
    train, exam = read_rooms(_shards(out, config)), read_rooms([out / "data" / "exam.safetensors"])
    log_z, features = load_file(out / _ESTIMATES), _features(out, "train")
    packed = load_file(out / "data" / "grids-train.safetensors")["grids"]
    return Materials(config, model, out / "base.safetensors", train, exam, features, packed, log_z)


@torch.inference_mode()
def tower_features(model: DepthVLM, rooms: Rooms, pictures: int = 64, dtype: torch.dtype = torch.bfloat16) -> Tensor:
    """(F, 1 + N, Dv) last hidden states of the tower, computed in float32 and kept in ``dtype``."""
    parts = []
    for start in range(0, len(rooms), pictures):
        pixels = normalise(torch.from_numpy(rooms.pictures[start : start + pictures]))
        parts.append(model.vlm.model.vision_tower(pixels).last_hidden_state.to(dtype))
    return torch.cat(parts)


def _claim(out: Path, config: AblationConfig, model: Path | None) -> None:
    """Write what this folder is for, or check that it is for the same."""
    wanted = config.to_dict() | {"model": "nano" if model is None else str(model)}
    kept = read_json(out / "config.json")
    if kept is None:
        write_json(out / "config.json", wanted)
        return
    other = [name for name, value in wanted.items() if kept.get(name) != value and name != "seeds"]
    if other:
        told = ", ".join(f"{name} {kept.get(name)} there, {wanted[name]} here" for name in other)
        raise SdvlmError(f"{out} holds an ablation with other settings ({told}); give another folder or those settings")


def _shards(out: Path, config: AblationConfig) -> list[Path]:
    count = -(-config.train_rooms // ROOMS_A_SHARD)
    return [out / "data" / f"train-{index:04d}.safetensors" for index in range(count)]


def _make_shard(config: AblationConfig, side: int, job: tuple[Path, int]) -> None:
    path, index = job
    rooms = min(ROOMS_A_SHARD, config.train_rooms - index * ROOMS_A_SHARD)
    seed = TRAIN_SEED + 10_000 * config.seed + index
    write_rooms(path, Rooms.of(views(seed, rooms, config.frames_per_room, config.questions_per_frame, side)))


def _features(out: Path, part: str) -> Tensor:
    return load_file(out / "data" / f"features-{part}.safetensors")["features"]


def _make_estimates(out: Path, config: AblationConfig) -> None:
    """Train the estimator on the training pictures; keep its estimates and how good they are on the others."""
    parts = ("train", "exam")
    features = {part: _features(out, part)[:, 1:] for part in parts}
    grids = {part: load_file(out / "data" / f"grids-{part}.safetensors")["grids"] for part in parts}
    z = {part: grid[..., CHANNELS.index("z")] for part, grid in grids.items()}
    side = round(features["train"].shape[1] ** 0.5)
    head = train_head(features["train"], z["train"], side, config.estimator_steps, config.seed)
    log_z = {part: predict(head, features[part]) for part in parts}
    found = quality(log_z["exam"], z["exam"])
    save_whole({part: one.unflatten(1, (side, side)).contiguous() for part, one in log_z.items()}, out / _ESTIMATES)
    write_json(out / "estimator.json", asdict(found))


_ESTIMATES = "estimates.safetensors"


def pooled_depth(processor: DepthProcessor, rooms: Rooms) -> Tensor:
    """(F, N, C) packed true depth of the token boxes of each picture."""
    size = (rooms.pictures.shape[2], rooms.pictures.shape[1])
    boxes = processor.grid.boxes(size)
    every = range(len(rooms))
    return torch.stack([pool_depth(rooms.depth(one), boxes, size, rooms.camera(one)).pack() for one in every])


def _make_base(
    path: Path,
    config: AblationConfig,
    model: DepthVLM,
    processor: DepthProcessor,
    rooms: Rooms,
    features: Tensor,
    say: Progress,
) -> None:
    """The common start: the model's fusion taken away, some steps without depth to get used to that."""
    torch.manual_seed(config.seed)
    maker = PrefixMaker(model, processor, rooms, None, features)
    learner = Learner(maker, Draws(rooms.questions, config, (0,)), config, config.base_lr, config.base_steps)
    learner.train(lambda step, steps, loss: say(f"base {step}/{steps} loss {loss:.3f}"))
    state = {name: value.contiguous() for name, value in model.vlm.state_dict().items() if name != "lm_head.weight"}
    save_whole(state, path)
