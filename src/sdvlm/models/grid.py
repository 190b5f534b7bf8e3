"""A token is a box: which pixels of the original picture each image token looks at.

The boxes of the cells a tower cuts, in pixels of the original picture (resize, pad, crop and tiles undone), are sent
through the model's own code as numbers: the module that puts the cells out emits their boxes in place of features, a
merging module takes the union of a run, and what comes out of ``get_image_features`` are the tokens' boxes in the order
the language model sees them, whatever was reordered, stitched or cut off on the way (``fusion-methods`` 1.2).
Separator tokens come out as NaN.

The probe runs on a skeleton (``models.skeleton``) built from the config alone, so that a grid can live in a data-loader
worker far from the model: it pickles as its config and image processor.
"""

from __future__ import annotations

from collections import OrderedDict
from functools import cached_property
from typing import Any, TypeVar

from torch import nn
from transformers import PreTrainedConfig

from sdvlm.geometry.transform import ImageTransform
from sdvlm.models.families import Family, Views
from sdvlm.models.families.family import Boxes, Size
from sdvlm.models.families.known import stated_family
from sdvlm.models.families.unknown import guess_family
from sdvlm.models.skeleton import build_skeleton, probe
from sdvlm.types import SdvlmError

__all__ = ["TokenGrid", "build_skeleton", "token_boxes"]

Key = TypeVar("Key")
Value = TypeVar("Value")
_KEPT = 512  # sizes whose boxes are kept: 576 boxes are 18 KB
_GRIDS: OrderedDict[tuple[str, str], TokenGrid] = OrderedDict()
_KEPT_GRIDS = 8


class TokenGrid:
    """The boxes of the image tokens of one model behind one image processor.

    Args:
        config: of the vision-language model itself (not of a ``DepthVLM`` around it).
        image_processor: the part of its processor that makes ``pixel_values``.
        several: whether the pictures share their prompt with others, which some families see another way.
        whole: the processor around the image processor, which a family that nobody has stated is guessed with.
        guessed: what was guessed of it before.

    Raises:
        SdvlmError: the family is not known and cannot be guessed.
    """

    def __init__(
        self,
        config: PreTrainedConfig,
        image_processor: Any,
        several: bool = False,
        whole: Any = None,
        guessed: Family | None = None,
    ) -> None:
        self.config, self.image_processor, self.several = config, image_processor, several
        stated = stated_family(config)
        self.family: Family = stated or guessed or guess_family(config, image_processor, whole)
        self._guessed = None if stated else self.family
        self._skeleton: nn.Module | None = None
        self._layouts: OrderedDict[Size, Boxes] = OrderedDict()
        self._boxes: OrderedDict[Size, Boxes] = OrderedDict()

    def __getstate__(self) -> dict[str, Any]:
        return {
            "config": self.config,
            "image_processor": self.image_processor,
            "several": self.several,
            "guessed": self._guessed,
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(**state)  # type: ignore[misc]

    @cached_property
    def beside(self) -> TokenGrid:
        """The grid for pictures that share their prompt with others; most families see them alike."""
        if self.several or self.family.beside is None:
            return self
        return TokenGrid(self.config, self.image_processor, several=True)

    def views(self, image_size: Size) -> Views:
        """What the tower sees of a picture of ``image_size`` (width, height)."""
        seen = self.family.views if not self.several or self.family.beside is None else self.family.beside
        return seen(self.config, self.image_processor, image_size)

    def transform(self, image_size: Size) -> ImageTransform:
        """From the pixels of a picture of ``image_size`` (width, height) to the pixels the tower sees.

        Raises:
            SdvlmError: it sees the picture as several views.
        """
        views = self.views(image_size).transforms
        if len(views) > 1:
            raise SdvlmError(
                f"'{self.config.model_type}' sees a {image_size[0]}x{image_size[1]} picture as {len(views)} views, so "
                "there is no one depth picture for its tower; choose a fusion that adds to the image tokens"
            )
        return views[0]

    def patches(self, image_size: Size) -> int:
        """Patches the tower cuts a picture of ``image_size`` into, all views together."""
        each = self.family.merged(self.config) if self.family.merge is None else 1
        return each * sum(len(self.family.cells(self.config, size)) for size in self.views(image_size).sizes)

    def boxes(self, image_size: Size) -> Boxes:
        """Boxes of the tokens of one picture, in the order of its image tokens.

        Args:
            image_size: (width, height) of the picture, in pixels.

        Returns:
            (N, 4) float64, read-only: left, top, right, bottom in pixels of the original picture; NaN rows for tokens
            that look nowhere. A box that lies partly in padding keeps its full extent, so it may exceed the picture.
        """
        if image_size not in self._boxes:
            views = self.views(image_size)
            if len(views.transforms) == 1 and not views.extra:  # many sizes share one processed size
                (steps,) = views.transforms
                boxes = steps.boxes_to_source(self.layout(steps.target_size))
            else:
                boxes = self._probed(views)
            boxes.setflags(write=False)
            _keep(self._boxes, image_size, boxes, _KEPT)
        return self._boxes[image_size]

    def layout(self, processed_size: Size) -> Boxes:
        """(N, 4) boxes of the tokens of one view in its own pixels, for its (width, height)."""
        if processed_size not in self._layouts:
            views = Views((ImageTransform(processed_size, processed_size),))
            _keep(self._layouts, processed_size, self._probed(views), _KEPT)
        return self._layouts[processed_size]

    def _probed(self, views: Views) -> Boxes:
        if self._skeleton is None:
            self._skeleton = build_skeleton(self.config, self.family)
        cells = [one.boxes_to_source(self.family.cells(self.config, one.target_size)) for one in views.transforms]
        return probe(self._skeleton, self.family, self.family.inputs(self.config, views), cells)


def token_boxes(model: Any, processor: Any, image_size: Size) -> Boxes:
    """Boxes of the image tokens of one picture: see :meth:`TokenGrid.boxes`. Probed once per model and size.

    Args:
        model: a vision-language model, a ``DepthVLM`` around one, or the config of either.
        processor: its Hugging Face processor or the image processor alone.
        image_size: (width, height) in pixels.

    Raises:
        SdvlmError: the family is not known and cannot be guessed.
    """
    config = getattr(model, "config", model)
    config = getattr(config, "vlm_config", config)
    image_processor = getattr(processor, "image_processor", processor)
    key = (config.to_json_string(use_diff=False), str(image_processor.to_json_string()))
    if key not in _GRIDS:
        whole = None if processor is image_processor else processor
        _keep(_GRIDS, key, TokenGrid(config, image_processor, whole=whole), _KEPT_GRIDS)
    return _GRIDS[key].boxes(image_size)


def _keep(cache: OrderedDict[Key, Value], key: Key, value: Value, limit: int) -> None:
    cache[key] = value
    while len(cache) > limit:
        cache.popitem(last=False)
