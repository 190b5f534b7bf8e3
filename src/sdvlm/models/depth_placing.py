"""What a processor does so that a fusion gets its depth: words and pictures in the prompt, tensors in the batch."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from sdvlm.fusion.config import DRAWN_OR_WORDED, FusionConfig
from sdvlm.fusion.depth_text import grid_text, object_text
from sdvlm.fusion.pixel_layout import lay_out
from sdvlm.fusion.renderers import render_depth
from sdvlm.models.conversation import Prompt
from sdvlm.models.depth_inputs import check_whole, checked_depth, pack_depth
from sdvlm.models.depth_prompts import ImageMarks
from sdvlm.models.families.known import looks_nowhere
from sdvlm.models.grid import TokenGrid
from sdvlm.models.queried_views import QueriedViews
from sdvlm.models.seam import without_depth_slots
from sdvlm.models.video_placing import VideoPlacer
from sdvlm.models.videos import Video
from sdvlm.types import Camera, DepthMap, SdvlmError

__all__ = ["DepthPlacer", "Shown"]

Objects = Sequence[tuple[str, tuple[float, float, float, float]]]
"""names and boxes (left, top, right, bottom in pixels) of things in a picture"""


@dataclass(frozen=True, eq=False)
class Shown:
    """Pictures of a batch with what is known of them. One entry a picture in each list.

    Args:
        pictures: in RGB.
        depth: map or None, of the picture's size where the fusion does not pool over the un-padded picture.
        camera: for its size, or None.
        objects: what ``depth_prompt`` names; None: nothing.
        beside: whether it shares its prompt with other pictures.
        videos: of the same batch.
        order: ``image`` or ``video``, of each picture and video in the order of the prompts.
    """

    pictures: list[Image.Image]
    depth: list[DepthMap | None]
    camera: list[Camera | None]
    objects: list[Objects | None]
    beside: list[bool]
    videos: Sequence[Video] = ()
    order: Sequence[str] = ()

    @property
    def sizes(self) -> list[tuple[int, int]]:
        """(width, height) of each."""
        return [picture.size for picture in self.pictures]

    @property
    def has_depth(self) -> list[bool]:
        """Pictures of which any depth is known."""
        return [one is not None and bool(one.valid.any()) for one in self.depth]


class DepthPlacer:
    """Prompts and batches with depth, as one model's fusion wants it.

    Args:
        fusion: settings; None: the model takes no depth.
        prompts: ``TemplatePrompts`` or ``ReleasedPrompts`` of the model.
        processor: the Hugging Face processor.
        vlm_config: of the vision-language model.
    """

    def __init__(self, fusion: FusionConfig | None, prompts: Any, processor: Any, vlm_config: Any) -> None:
        self.fusion, self._prompts, self._processor, self._vlm_config = fusion, prompts, processor, vlm_config
        self.pack: Callable[..., Tensor | None] = pack_depth
        """pools depth over tokens; may be exchanged for one with a memory (``train.pooled_cache``)"""

    @cached_property
    def grid(self) -> TokenGrid:
        """Which pixels each image token looks at; made when depth first asks for it. A drawn map needs no boxes.

        Raises:
            SdvlmError: the model's family is not known and cannot be guessed.
        """
        if self.fusion is not None and self.fusion.name == "depth_image" and looks_nowhere(self._vlm_config):
            return QueriedViews(self._vlm_config, self._processor)
        return TokenGrid(self._vlm_config, self._processor.image_processor, whole=self._processor)

    @cached_property
    def videos(self) -> VideoPlacer:
        """The same of videos."""
        return VideoPlacer(self.fusion, self._processor, self._vlm_config)

    @property
    def image_token_id(self) -> int:
        """Of the tokens that image tokens take the place of; a prompt may mark a picture with another."""
        stated = getattr(self._vlm_config, "image_token_id", None)
        return int(self._processor.image_token_id if stated is None else stated)

    @cached_property
    def marks(self) -> ImageMarks:
        """How the model's prompts write pictures."""
        return ImageMarks.of(self._prompts, self._processor.image_token)

    def checked(
        self,
        pictures: list[Image.Image],
        depth: Any,
        camera: Any,
        objects: Any,
        prompts: Sequence[Prompt] = (),
        videos: Sequence[Video] = (),
    ) -> Shown:
        """Pictures with their depth, if it is of sizes and kinds the fusion takes.

        Args:
            pictures, depth, camera, objects: as a processor's call takes them.
            prompts: that the pictures belong to, mark by mark; without them, each has a prompt of its own.
            videos: of the same prompts.

        Raises:
            SdvlmError: see ``depth_inputs.checked_depth``; or there are other objects than the fusion wants.
        """
        maps, cameras = checked_depth(self.fusion, [picture.size for picture in pictures], depth, camera)
        named: list[Any] = [None] * len(pictures) if objects is None else list(objects)
        if len(named) != len(pictures):
            raise SdvlmError(f"got objects for {len(named)} pictures, of which there are {len(pictures)}")
        wanted = self.fusion is not None and self.fusion.name == "depth_prompt" and self.fusion.prompt == "objects"
        if objects is not None and not wanted:
            raise SdvlmError("objects are for the fusion depth_prompt with prompt='objects'; leave them out")
        orders = [_order(self._processor, prompt.text) for prompt in prompts] or [["image"] for _ in pictures]
        beside = [one.count("image") > 1 for one in orders for kind in one if kind == "image"]
        order = [kind for one in orders for kind in one]
        shown = Shown(pictures, maps, cameras, named, beside, videos, order)
        if self.fusion is not None and (self._has_slots or self.fusion.reads_pixels):
            for size in {size for size, has in zip(shown.sizes, shown.has_depth, strict=True) if has}:
                self.grid.transform(size)  # refused where the tower sees tiles
        if self.fusion is not None and self.fusion.per_picture and any(shown.has_depth):
            check_whole(self.grid, self.fusion, shown.sizes)
        return shown

    def worded(self, prompts: Sequence[Prompt], shown: Shown) -> list[Prompt]:
        """Prompts with room for depth. The pictures belong to the prompts' marks in order."""
        values = self._insertions(shown)
        if values is None:
            return list(prompts)
        out, taken = [], 0
        for prompt in prompts:
            mine = values[taken : (taken := taken + prompt.text.count(self.marks.mark))]
            out.append(self._with(prompt, mine))
        return out

    def worded_alike(self, prompts: Sequence[Prompt], shown: Shown) -> list[Prompt]:
        """The same for prompts that are each about all the pictures."""
        values = self._insertions(shown)
        return list(prompts) if values is None else [self._with(prompt, values) for prompt in prompts]

    def pictures(self, shown: Shown) -> list[Image.Image]:
        """What the Hugging Face processor is to see: a picture for every slot."""
        if not self._has_slots:
            return shown.pictures
        drawn = self._rendered if self.fusion is not None and self.fusion.name == "depth_image" else _same
        out: list[Image.Image] = []
        for picture, depth, has in zip(shown.pictures, shown.depth, shown.has_depth, strict=True):
            out += [picture] + ([drawn(picture, depth)] if has else [])
        return out

    def complete(self, batch: MutableMapping[str, Any], shown: Shown, always: bool = False) -> None:
        """Put into a batch what the model is to get of depth; nothing where no picture has any, unless ``always``.

        Raises:
            SdvlmError: processor and model do not place the same number of tokens.
        """
        fusion = self.fusion
        if fusion is None or fusion.name in DRAWN_OR_WORDED:
            return
        if shown.videos and not self.videos.among_pictures:
            self.videos.complete(batch, shown.videos)
        packed = self._packed(fusion, shown, always)
        if packed is None:
            return
        slots = self._slots(shown)
        self._check_count(batch, packed, shown, any(slots))
        batch["depth_grid"] = packed
        if fusion.channels is not None:
            batch["depth_pixels"] = self._planes(shown)
        if self._has_slots:
            batch["depth_pictures"] = torch.tensor(slots)
            if any(slots):
                batch["pixel_values"] = without_depth_slots(batch, slots)

    def _packed(self, fusion: FusionConfig, shown: Shown, always: bool) -> Tensor | None:
        """(T, C) depth of what enters as pictures; None where nothing has any, unless ``always``."""
        films = list(shown.videos) if shown.videos and self.videos.among_pictures else []
        always = always or any(film.has_depth for film in films)
        if not shown.pictures and not (films and always):
            return None
        if not always and all(one is None for one in shown.depth):
            return None
        if not films and (self.grid.beside is self.grid or not any(shown.beside)):
            return self.pack(fusion, self.grid, shown.sizes, shown.depth, shown.camera, always)
        grids = [self.grid.beside if beside else self.grid for beside in shown.beside]
        parts = [
            self.pack(fusion, grid, [size], [depth], [camera], True)
            for grid, size, depth, camera in zip(grids, shown.sizes, shown.depth, shown.camera, strict=True)
        ]
        rows = [one for one in parts if one is not None]
        return self.videos.strip(rows, films, shown.order) if films else torch.cat(rows)

    @property
    def _has_slots(self) -> bool:
        return self.fusion is not None and self.fusion.place == "picture"

    def _slots(self, shown: Shown) -> list[bool]:
        """For every picture slot, whether it is a depth picture's."""
        if not self._has_slots:
            return [False] * len(shown.pictures)
        return [one for has in shown.has_depth for one in ([False, True] if has else [False])]

    def _insertions(self, shown: Shown) -> list[Any] | None:
        """What each picture brings into its prompt; None: nothing at all."""
        if self.fusion is None or not any(shown.has_depth):
            return None
        if self._has_slots:
            return shown.has_depth
        if self.fusion.place != "text":
            return None
        return [self._text(d, o) for d, o in zip(shown.depth, shown.objects, strict=True)]

    def _with(self, prompt: Prompt, values: list[Any]) -> Prompt:
        return self.marks.with_pictures(prompt, values) if self._has_slots else self.marks.with_texts(prompt, values)

    def _text(self, depth: DepthMap | None, objects: Objects | None) -> str | None:
        assert self.fusion is not None
        if depth is None or not depth.valid.any():
            return None
        if self.fusion.prompt == "grid":
            return grid_text(depth, self.fusion.prompt_rows, self.fusion.prompt_columns)
        return object_text(depth, objects) if objects else None

    def _rendered(self, picture: Image.Image, depth: DepthMap | None) -> Image.Image:
        """The depth map drawn at the size the tower sees, so that no resize mixes its depths.

        Raises:
            SdvlmError: the processor would resize it all the same.
        """
        assert self.fusion is not None
        assert depth is not None
        steps = self.grid.transform(picture.size)
        again = self.grid.transform(steps.target_size)
        if again.target_size != steps.target_size or again.scale != (1.0, 1.0) or again.offset != (0.0, 0.0):
            raise SdvlmError(
                f"the image processor resizes even pictures of its own size {steps.target_size}, so a drawn depth map "
                "would be mixed; choose another fusion"
            )
        return Image.fromarray(render_depth(steps.depth(depth), self.fusion.renderer))

    def _planes(self, shown: Shown) -> Tensor:
        """The depth maps of all pictures as the tower reads them."""
        channels = self.fusion.depth_channels if self.fusion is not None else None
        assert channels is not None
        planes = []
        for size, depth, camera in zip(shown.sizes, shown.depth, shown.camera, strict=True):
            steps = self.grid.transform(size)
            planes.append(torch.from_numpy(channels.processed(steps, depth, camera)))
        pixels: Tensor = lay_out(planes, self._vlm_config.vision_config)["pixel_values"]
        return pixels

    def _check_count(self, batch: Mapping[str, Any], packed: Tensor, shown: Shown, doubled: bool) -> None:
        found = int((batch["input_ids"] == self.image_token_id).sum())
        wanted = len(packed)
        if doubled:
            lengths = [len(self.grid.boxes(size)) for size in shown.sizes]
            wanted += sum(n for n, has in zip(lengths, shown.has_depth, strict=True) if has)
        if found != wanted:
            raise SdvlmError(
                f"the processor placed {found} image tokens but the pictures have {wanted} token boxes; "
                "processor and model config do not belong together (patch size, select strategy)"
            )


def _order(processor: Any, text: str) -> list[str]:
    """``image`` or ``video`` for each mark of a prompt."""
    marks = {"image": processor.image_token, "video": getattr(processor, "video_token", None)}
    either = "|".join(f"(?P<{kind}>{re.escape(mark)})" for kind, mark in marks.items() if mark)
    return [str(found.lastgroup) for found in re.finditer(either, text)]


def _same(picture: Image.Image, depth: DepthMap | None) -> Image.Image:
    """A stand-in: it makes the processor count the tokens of a depth picture, and is not looked at."""
    return picture
