"""The vision half of a vision-language model for depth: its tower and projector cloned, reading depth planes.

The host's own ``get_image_features`` is what runs, so layer selection, merging, token order and tiling are the host
family's own, and depth tokens lie where the image tokens of the same picture lie.
"""

from __future__ import annotations

import copy
import inspect
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from sdvlm.fusion.inflate import inflated
from sdvlm.fusion.towers import find_tower, vision_children
from sdvlm.types import SdvlmError

if TYPE_CHECKING:
    from sdvlm.fusion.encoder import DepthEncoder

__all__ = ["VisionHalf"]


class VisionHalf(nn.Module):
    """Everything of a host between pixels and image tokens, with a patch embedding that reads depth planes.

    At the start it equals the host on grey pictures. All its parameters are its own, and trainable whatever the host's
    are; its state dict has nothing of the language model.

    Args:
        base_model: a vision-language model without its head; copied from, on any device, the meta device too.
        channels: depth planes (``DepthChannels.count``).

    Raises:
        SdvlmError: the host is no vision-language model, or its tower has no patch embedding that can be inflated.
    """

    def __init__(self, base_model: nn.Module, channels: int) -> None:
        super().__init__()
        self.channels = channels
        self.parts: nn.ModuleDict = inflated(nn.ModuleDict(vision_children(base_model)), channels)
        self.parts.requires_grad_(True)

    def forward(self, base_model: nn.Module, inputs: dict[str, Any]) -> list[Tensor]:
        """Depth tokens of each picture, (N_i, D) each, as the host would make image tokens of RGB.

        Args:
            base_model: the host: its class, config and loose parameters (tile separators) are used, its tower is not.
            inputs: of its ``get_image_features``; ``pixel_values`` are depth planes laid out for the tower
                (``pixel_layout.lay_out``). Others, and None, are left out.
        """
        host: Any = copy.copy(base_model)  # shares all parameters; only the table of its parts is its own
        host._modules = {**base_model._modules, **self.parts._modules}
        taken = inspect.signature(host.get_image_features).parameters
        given = {name: value for name, value in inputs.items() if name in taken and value is not None}
        return list(host.get_image_features(**given, return_dict=True)["pooler_output"])

    @property
    def tower(self) -> nn.Module:
        """The depth tower."""
        return find_tower(self.parts, self.channels)

    def load_tower(self, encoder: DepthEncoder) -> None:
        """Take over a pre-trained depth tower's weights; the projector stays.

        Raises:
            SdvlmError: the encoder's tower is of another build: class, planes, width, depth or picture size.
        """
        if encoder.channels.count != self.channels:
            ours = (
                f"{self.channels} planes, the encoder's {encoder.channels.count} ({', '.join(encoder.channels.names)})"
            )
            raise SdvlmError(f"this depth tower reads {ours}; build the fusion with the encoder's channels")
        mine, theirs = self.tower, encoder.tower
        state, wanted = theirs.state_dict(), mine.state_dict()
        unlike = sorted(
            name
            for name in state.keys() | wanted.keys()
            if name not in state or name not in wanted or state[name].shape != wanted[name].shape
        )
        if type(mine) is not type(theirs) or unlike:
            raise SdvlmError(
                f"the encoder's {type(theirs).__name__} does not fit the host's {type(mine).__name__}: "
                f"{len(unlike)} weights differ ({', '.join(unlike[:3])}); pre-train it from this model's own tower"
            )
        mine.load_state_dict(state)
