"""What the training loop knows of an objective, whichever it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from torch import Tensor, nn

from sdvlm.fusion.encoder import DepthEncoder
from sdvlm.pretrain.evaluate import Features
from sdvlm.pretrain.pictures import Chunk

__all__ = ["TrainedObjective"]


class TrainedObjective(Protocol):
    """Losses of a batch of pairs, and the parts they train."""

    @property
    def parts(self) -> Mapping[str, nn.Module]:
        """All modules a checkpoint needs, by name."""

    @property
    def new_parts(self) -> Sequence[nn.Module]:
        """Modules that start from random weights."""

    @property
    def cloned_parts(self) -> Sequence[nn.Module]:
        """Modules that start from the RGB tower's weights."""

    @property
    def undecayed_parts(self) -> Sequence[nn.Module]:
        """Modules of ``new_parts`` without weight decay whatever their shape."""

    def backward(self, chunks: Sequence[Chunk], progress: float) -> dict[str, float]:
        """Add the gradient of this process's batch, chunk by chunk; losses by name.

        Args:
            chunks: the batch of this process.
            progress: share of the run that is done, 0..1.
        """

    def after_step(self) -> None:
        """Bring bounded parameters back into their bounds."""

    def encode(self, chunk: Chunk) -> Features:
        """Features of the depth maps, without gradient, as the encoder is now."""

    def embed_rgb(self, chunk: Chunk) -> Tensor:
        """(B, E) embeddings of the RGB pictures, without gradient."""

    def encoder(self) -> DepthEncoder:
        """The depth encoder as it is now."""
