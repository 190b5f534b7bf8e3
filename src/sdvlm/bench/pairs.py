"""How fast pictures become pairs, beside a plain loop over the same estimator class, and what memory that takes."""

from __future__ import annotations

import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from sdvlm.bench.timing import Timing, alternate, ratio
from sdvlm.depth.estimator import DepthEstimate, DepthEstimator, load_estimator
from sdvlm.depth.frame import load_image
from sdvlm.engine import EngineConfig, run_jobs
from sdvlm.machine import peak_memory_mb
from sdvlm.pairs.build import build_pairs
from sdvlm.pairs.config import PairsConfig
from sdvlm.pairs.dataset import PairDataset
from sdvlm.pairs.source import open_source
from sdvlm.types import Camera, DepthKind, DepthMap, SdvlmError

__all__ = ["FromBrightness", "bench_pairs", "plain_loop", "write_checkpoint", "write_pictures"]

_PICTURES, _MANY_PICTURES = (100, 1000), (100, 10_000)
"""numbers of pictures whose peak memory is compared"""
_MEMORY_SIZE = (96, 72)


def bench_pairs(
    pictures: int = 48,
    repeats: int = 3,
    big: bool = False,
    size: tuple[int, int] = (640, 480),
    width: int = 192,
    layers: int = 4,
    side: int = 196,
    many: tuple[int, int] | None = None,
) -> dict[str, Any]:
    """Build pairs of pictures with a Depth Anything of random weights, one thread.

    Args:
        pictures: of a build.
        repeats: timed turns.
        big: compare the memory of 100 pictures with that of 10,000 (minutes), not with that of 1,000.
        size: width and height of the pictures, JPEG.
        width: channels of the network's tower.
        layers: of its tower.
        side: pixels that it sees of the shorter side; a multiple of 14.
        many: numbers of pictures whose memory is compared, instead of those.
    """
    if min(pictures, repeats) < 1:
        raise SdvlmError("a bench of pairs needs at least one picture and one repeat")
    threads = torch.get_num_threads()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_pictures(folder / "pictures", pictures, size)
        write_checkpoint(folder / "estimator", width, layers, side)
        torch.set_num_threads(1)
        try:
            result = _rates(folder, pictures, repeats)
        finally:
            torch.set_num_threads(threads)
        result |= {"size": list(size), "estimator": {"class": "DepthAnything", "width": width, "layers": layers}}
        result["memory"] = _memory(folder, many or (_MANY_PICTURES if big else _PICTURES))
    return result


class FromBrightness:
    """An estimator that costs nothing, for measuring everything else."""

    id, licence, kind = "brightness", "Apache-2.0", DepthKind.METRIC

    def estimate(
        self, images: Sequence[NDArray[np.uint8]], cameras: Sequence[Camera | None] | None = None
    ) -> list[DepthEstimate]:
        """Metres: red, and one."""
        return [DepthEstimate(DepthMap(one[..., 0].astype(np.float32) + 1, self.kind, self.id)) for one in images]


def write_pictures(folder: Path, count: int, size: tuple[int, int]) -> None:
    """JPEG files of large shapes that all differ."""
    folder.mkdir(parents=True)
    for number in range(count):
        coarse = np.random.default_rng(number).integers(0, 256, (9, 12, 3), dtype=np.uint8)
        Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC).save(folder / f"{number:06d}.jpg", quality=90)


def write_checkpoint(folder: Path, width: int, layers: int, side: int) -> None:
    """A metric Depth Anything of random weights with its image processor, as the hub would hold it."""
    from transformers import DepthAnythingConfig, DepthAnythingForDepthEstimation, DPTImageProcessor

    torch.manual_seed(0)
    backbone = {"model_type": "dinov2", "hidden_size": width, "num_hidden_layers": layers, "image_size": 518}
    backbone |= {"num_attention_heads": max(1, width // 64), "patch_size": 14, "reshape_hidden_states": False}
    backbone["out_indices"] = [max(1, round(layers * part / 4)) for part in (1, 2, 3, 4)]
    config = DepthAnythingConfig(
        backbone_config=backbone,
        reassemble_hidden_size=width,
        neck_hidden_sizes=[24, 48, 96, 96],
        fusion_hidden_size=32,
        depth_estimation_type="metric",
        max_depth=20,
    )
    DepthAnythingForDepthEstimation(config).save_pretrained(folder)
    wanted = {"height": side, "width": side}
    DPTImageProcessor(size=wanted, keep_aspect_ratio=True, ensure_multiple_of=14).save_pretrained(folder)


def plain_loop(pictures: Path, checkpoint: Path) -> Callable[[Path], None]:
    """What one writes without this package: a picture at a time through transformers, picture and depth as files."""
    from transformers import AutoImageProcessor, AutoModelForDepthEstimation

    model = AutoModelForDepthEstimation.from_pretrained(checkpoint).eval()
    processor = AutoImageProcessor.from_pretrained(checkpoint)

    @torch.inference_mode()
    def run(out: Path) -> None:
        out.mkdir()
        for path in sorted(pictures.iterdir()):
            image = Image.open(path).convert("RGB")
            outputs = model(**processor(images=image, return_tensors="pt"))
            (found,) = processor.post_process_depth_estimation(outputs, target_sizes=[(image.height, image.width)])
            millimetres = (found["predicted_depth"] * 1000).round().clamp(0, 65535).numpy().astype(np.uint16)
            Image.fromarray(millimetres).save(out / f"{path.stem}.png")
            shutil.copyfile(path, out / path.name)

    return run


def _rates(folder: Path, pictures: int, repeats: int) -> dict[str, Any]:
    """Builds and the plain loop in turns; the estimator alone beside them; reading back in random order."""
    source, config = folder / "pictures", PairsConfig(estimator=str(folder / "estimator"), test_share=0.0)
    loop, estimator = plain_loop(source, folder / "estimator"), load_estimator(folder / "estimator")
    images = [load_image(path) for path in sorted(source.iterdir())]
    numbers = count()

    def build() -> None:
        build_pairs(open_source(source), folder / f"pairs{next(numbers)}", config)

    tasks: dict[str, Callable[[], object]] = {
        "build": build,
        "plain": lambda: loop(folder / f"plain{next(numbers)}"),
        "estimator": partial(_all, estimator, images),
    }
    times = alternate(tasks, repeats)
    data = PairDataset(folder / "pairs0")
    return {
        "pictures": pictures,
        "pictures_per_second": {name: _rate(pictures, timing) for name, timing in times.items()},
        "build_over_plain_loop": ratio(times["plain"], times["build"]),
        "build_over_estimator_alone": ratio(times["estimator"], times["build"]),
        "read_in_random_order_per_second": round(_reading(data), 1),
        "duplicates": pictures - len(data),
    }


def _all(estimator: DepthEstimator, images: Sequence[NDArray[np.uint8]]) -> None:
    """Every picture, already decoded, in the batches that suit the estimator."""
    for start in range(0, len(images), 32):
        estimator.estimate(images[start : start + 32])


def _rate(pictures: int, timing: Timing) -> dict[str, float]:
    rates = [pictures / seconds for seconds in timing.seconds]
    return {
        "median": round(statistics.median(rates), 2),
        "min": round(min(rates), 2),
        "max": round(max(rates), 2),
    }


def _reading(data: PairDataset) -> float:
    order = np.random.default_rng(0).permutation(len(data))
    started = time.perf_counter()
    for index in order:
        data[int(index)]
    return len(data) / (time.perf_counter() - started)


@dataclass(frozen=True)
class _MemoryTask:
    pictures: str
    out: str


def _memory(folder: Path, counts: Sequence[int]) -> dict[str, Any]:
    """Most memory of a process that builds pairs of so many pictures, assembly included."""
    peak = {}
    for many in counts:
        source = folder / f"many{many}"
        write_pictures(source, many, _MEMORY_SIZE)
        task = _MemoryTask(str(source), str(folder / f"out{many}"))
        (result,) = run_jobs([("measured", task)], _peak_of_build, EngineConfig("processes", 1))
        if result.value is None:
            raise SdvlmError(result.error or "the measured process gave nothing")
        peak[str(many)] = round(result.value, 1)
    grows = peak[str(counts[-1])] / peak[str(counts[0])] - 1
    return {"size": list(_MEMORY_SIZE), "peak_mb": peak, "grows_by": round(grows, 3)}


def _peak_of_build(task: _MemoryTask) -> float:
    config = PairsConfig(estimator=f"{__name__}:FromBrightness")
    build_pairs(open_source(task.pictures), Path(task.out), config)
    return peak_memory_mb()
