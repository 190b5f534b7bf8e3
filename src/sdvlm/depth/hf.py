"""Any ``AutoModelForDepthEstimation`` checkpoint of transformers as a :class:`~sdvlm.depth.estimator.DepthEstimator`.

The tensor the model predicts is used, never the depth-estimation pipeline's ``depth`` picture (8 bits, stretched per
image). Maps come back at the picture's size, sampled bilinearly with the processor's padding left out; at object edges
such a map has a few in-between depths, as every resampled estimate has.
"""

from __future__ import annotations

import hashlib
import json
import logging
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError

from sdvlm.depth.estimator import DepthEstimate, licence_of
from sdvlm.depth.heads import USES_CAMERA, depth_from_inverse, head_kind
from sdvlm.depth.positions import follow_offset
from sdvlm.depth.preprocess import Prepared, load_processor, prepare, resample
from sdvlm.depth.raw import one_line
from sdvlm.types import Camera, DepthKind, DepthMap, SdvlmError

__all__ = ["HFDepthEstimator", "load_hf_estimator"]

_log = logging.getLogger(__name__)

# The first fusion layer of the DPT design has no second input: released checkpoints lack these unused weights.
_NEVER_USED = re.compile(r"fusion_stage\.layers\.0\.residual_layer1\.")


@dataclass(eq=False)
class HFDepthEstimator:
    """A loaded checkpoint.

    Args:
        model: the transformers model, in eval mode on its device.
        processor: its image processor.
        id: hub id, or the folder's name.
        kind: of every map.
        licence: of the weights.
        source: folder or hub id it came from.
        commit: hub commit; None for a folder.
        batch_size: pictures a forward pass.
    """

    model: Any
    processor: Any
    id: str
    kind: DepthKind
    licence: str
    source: str
    commit: str | None = None
    batch_size: int = 8

    @property
    def model_type(self) -> str:
        """Of the transformers config."""
        return str(self.model.config.model_type)

    @property
    def uses_camera(self) -> bool:
        """Whether a given camera changes the depth."""
        return self.model_type in USES_CAMERA

    @cached_property
    def revision(self) -> str:
        """What the maps depend on beside ``id``: commit or content hash, kind, and dtype if not float32."""
        dtype = str(self.model.dtype).removeprefix("torch.")
        parts = [self.commit or _folder_hash(Path(self.source)), str(self.kind)]
        return "+".join(parts if dtype == "float32" else [*parts, dtype])

    def estimate(
        self, images: Sequence[NDArray[np.uint8]], cameras: Sequence[Camera | None] | None = None
    ) -> list[DepthEstimate]:
        """One map a picture, in order and of the picture's size. Pictures whose inputs have one shape share a pass.

        Args:
            images: (H, W, 3) uint8 sRGB each; sizes may differ.
            cameras: one a picture, or None. Depth Pro uses the focal length; the others ignore it.

        Raises:
            SdvlmError: something that is no picture, or a camera for another size.
        """
        cameras = [None] * len(images) if cameras is None else list(cameras)
        _check_inputs(images, cameras)
        results: dict[int, DepthEstimate] = {}
        for index, item, raw in self._outputs(images):
            results[index] = self._finish(raw, item, images[index].shape[:2], cameras[index])
        return [results[index] for index in range(len(images))]

    def raw(self, images: Sequence[NDArray[np.uint8]]) -> list[DepthMap]:
        """One map a picture at the network's own output size, values as the network puts them out.

        What code that pools depth itself wants: resampling to the picture first would change the means. Padding that
        the processor put around the picture is cut off. Depth Pro's output is inverse depth, so that is its kind here.

        Raises:
            SdvlmError: something that is no picture.
        """
        _check_inputs(images, [None] * len(images))
        kind = DepthKind.DISPARITY if self.model_type == "depth_pro" else self.kind
        results: dict[int, DepthMap] = {}
        for index, item, (values, _) in self._outputs(images):
            (height, width), (left, top, right, bottom) = values.shape, item.inside
            rows = slice(round(top * height), round(bottom * height))
            results[index] = DepthMap(values[rows, round(left * width) : round(right * width)].numpy(), kind, self.id)
        return [results[index] for index in range(len(images))]

    def _outputs(
        self, images: Sequence[NDArray[np.uint8]]
    ) -> Iterator[tuple[int, Prepared, tuple[torch.Tensor, float | None]]]:
        """Index, input and raw output of each picture, not in order: inputs of one shape share a pass."""
        waiting: dict[tuple[int, ...], list[tuple[int, Prepared]]] = {}
        for index, image in enumerate(images):
            item = prepare(self.model_type, self.processor, image)
            group = waiting.setdefault(tuple(item.pixel_values.shape), [])
            group.append((index, item))
            if len(group) == self.batch_size:
                yield from self._pass(waiting.pop(tuple(item.pixel_values.shape)))
        for group in waiting.values():
            yield from self._pass(group)

    def _pass(
        self, group: list[tuple[int, Prepared]]
    ) -> Iterator[tuple[int, Prepared, tuple[torch.Tensor, float | None]]]:
        for (index, item), output in zip(group, self._forward([item for _, item in group]), strict=True):
            yield index, item, output

    @torch.inference_mode()
    def _forward(self, items: list[Prepared]) -> list[tuple[torch.Tensor, float | None]]:
        """(h, w) float32 raw output and predicted field of view (degrees) of each input."""
        pixel_values = torch.stack([item.pixel_values for item in items])
        outputs = self.model(pixel_values=pixel_values.to(self.model.device, self.model.dtype))
        raw = outputs.predicted_depth.float().cpu()
        fov = getattr(outputs, "field_of_view", None)
        return list(zip(raw, [None] * len(items) if fov is None else fov.float().tolist(), strict=True))

    def _finish(
        self, raw: tuple[torch.Tensor, float | None], item: Prepared, shape: tuple[int, ...], camera: Camera | None
    ) -> DepthEstimate:
        values = resample(raw[0], item.inside, (shape[1], shape[0]))
        if self.model_type != "depth_pro":
            return DepthEstimate(DepthMap(values.numpy(), self.kind, self.id), camera)
        values, used = depth_from_inverse(values, raw[1], camera, self.id)
        return DepthEstimate(DepthMap(values.numpy(), self.kind, self.id), used, camera_estimated=camera is None)


def load_hf_estimator(
    source: str,
    *,
    device: str | None = None,
    dtype: str = "float32",
    revision: str | None = None,
    kind: DepthKind | None = None,
    batch_size: int = 8,
) -> HFDepthEstimator:
    """Load a checkpoint from the hub or a folder: safetensors only, no remote code, nothing missing.

    Args: see :func:`sdvlm.depth.estimator.load_estimator`.

    Raises:
        SdvlmError: not a depth checkpoint, damaged, incomplete or not reachable.
    """
    if batch_size < 1:
        raise SdvlmError(f"batch_size must be at least 1; got {batch_size}")
    torch_dtype = getattr(torch, dtype, None)
    if not isinstance(torch_dtype, torch.dtype) or not torch_dtype.is_floating_point:
        raise SdvlmError(f"dtype must name a torch float type such as float32 or bfloat16; got {dtype!r}")
    folder = Path(source).expanduser()
    is_local = folder.exists()
    if is_local:
        _check_folder(folder)
    location = str(folder) if is_local else source
    try:
        config = _load_config(location, source, revision)
        resolved = head_kind(config, kind, source)
        model = _load_model(location, source, config, torch_dtype, revision)
        follow_offset(model)
        processor = load_processor(config.model_type, location, revision)
    except SdvlmError:
        raise
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError) as error:
        fix = "is the download complete?" if is_local else "check the id and the network, or give a downloaded folder"
        raise SdvlmError(f"estimator {source}: cannot be loaded: {one_line(error)}; {fix}") from error
    return HFDepthEstimator(
        model=model.eval().to(_pick_device(device)),
        processor=processor,
        id=folder.resolve().name if is_local else source,
        kind=resolved,
        licence=(_card_licence(folder) if is_local else licence_of(source)) or "unknown",
        source=location,
        commit=None if is_local else getattr(config, "_commit_hash", None) or revision or "main",
        batch_size=batch_size,
    )


def _check_folder(folder: Path) -> None:
    config = folder / "config.json"
    if not config.is_file():
        raise SdvlmError(f"estimator {folder}: has no config.json; wanted a folder that save_pretrained wrote")
    try:
        json.loads(config.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise SdvlmError(f"estimator {folder}: config.json cannot be read: {one_line(error)}") from error
    if not any(folder.glob("*.safetensors")):
        raise SdvlmError(f"estimator {folder}: has no .safetensors weights; pickled weights are not loaded")
    if not any((folder / name).is_file() for name in ("preprocessor_config.json", "processor_config.json")):
        raise SdvlmError(f"estimator {folder}: has no preprocessor_config.json; copy it from the original checkpoint")


def _load_config(location: str, source: str, revision: str | None) -> Any:
    from transformers import AutoConfig
    from transformers.models.auto.modeling_auto import MODEL_FOR_DEPTH_ESTIMATION_MAPPING

    config = AutoConfig.from_pretrained(location, revision=revision, trust_remote_code=False)
    if type(config) not in MODEL_FOR_DEPTH_ESTIMATION_MAPPING:
        known = ", ".join(sorted(cls.model_type for cls in MODEL_FOR_DEPTH_ESTIMATION_MAPPING))
        raise SdvlmError(f"estimator {source}: is a {config.model_type} model, not a depth estimator (known: {known})")
    return config


def _load_model(location: str, source: str, config: Any, dtype: torch.dtype, revision: str | None) -> Any:
    from transformers import AutoModelForDepthEstimation

    model, info = AutoModelForDepthEstimation.from_pretrained(
        location,
        config=config,
        revision=revision,
        dtype=dtype,
        use_safetensors=True,
        trust_remote_code=False,
        output_loading_info=True,
    )
    missing = sorted(key for key in info["missing_keys"] if not _NEVER_USED.search(key))
    mismatched = sorted(str(key) for key in info["mismatched_keys"])
    if missing or mismatched:
        first = (missing or mismatched)[0]
        raise SdvlmError(
            f"estimator {source}: {len(missing)} weights are missing and {len(mismatched)} have another shape "
            f"(first: {first}); config and weights do not belong together"
        )
    if info["unexpected_keys"]:
        _log.info("%s: %d weights are not used by this class", source, len(info["unexpected_keys"]))
    return model


def _pick_device(device: str | None) -> str:
    if device is None:
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise SdvlmError(f"device {device!r} cannot be used: {one_line(error)}") from error
    return device


def _check_inputs(images: Sequence[NDArray[np.uint8]], cameras: Sequence[Camera | None]) -> None:
    if len(cameras) != len(images):
        raise SdvlmError(f"got {len(images)} images and {len(cameras)} cameras; wanted one camera (or None) an image")
    for index, (image, camera) in enumerate(zip(images, cameras, strict=True)):
        if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or not image.size:
            raise SdvlmError(f"image {index} must be (height, width, 3) uint8; got {image.shape} {image.dtype}")
        if camera is not None and camera.size != (image.shape[1], image.shape[0]):
            raise SdvlmError(f"image {index} is {image.shape[1]}x{image.shape[0]} but its camera is for {camera.size}")


def _folder_hash(folder: Path) -> str:
    """Hash of every JSON and weights file of a checkpoint folder."""
    digest = hashlib.blake2b(digest_size=16)
    for path in sorted([*folder.glob("*.json"), *folder.glob("*.safetensors")]):
        digest.update(path.name.encode())
        with path.open("rb") as stream:
            while chunk := stream.read(1 << 22):
                digest.update(chunk)
    return digest.hexdigest()


def _card_licence(folder: Path) -> str | None:
    """The ``license:`` line of the model card that lies in a checkpoint folder."""
    card = folder / "README.md"
    if not card.is_file():
        return None
    found = re.search(r"\A---\n.*?^license:\s*(\S+)", card.read_text(encoding="utf-8", errors="replace"), re.S | re.M)
    return found.group(1) if found else None
