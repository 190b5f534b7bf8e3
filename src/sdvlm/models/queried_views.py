"""What the tower sees of pictures whose tokens are learned queries: measured, as there are no boxes to find."""

from __future__ import annotations

from typing import Any

from transformers import PreTrainedConfig

from sdvlm.models.families import Views
from sdvlm.models.families.family import Size
from sdvlm.models.families.measured import MeasuredViews
from sdvlm.models.grid import TokenGrid

__all__ = ["QueriedViews"]


class QueriedViews(TokenGrid):
    """A grid without boxes, for fusions that draw depth into a picture of its own.

    Args:
        config: of the vision-language model.
        whole: its Hugging Face processor.
    """

    def __init__(self, config: PreTrainedConfig, whole: Any) -> None:
        self.config, self.image_processor, self.several = config, whole.image_processor, False
        self._measured = MeasuredViews(1, whole)

    def __getstate__(self) -> dict[str, Any]:
        return {"config": self.config, "whole": self._measured.whole}

    @property
    def beside(self) -> TokenGrid:
        """Itself."""
        return self

    def views(self, image_size: Size) -> Views:
        """What the tower sees of a picture of ``image_size`` (width, height)."""
        return self._measured(self.config, self.image_processor, image_size)
