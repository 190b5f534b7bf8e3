"""Gradient of a loss over a large batch in the memory of a small one: gradient caching.

GradCache (Gao et al. 2021, arXiv 2101.06983): a contrastive loss needs the embeddings of the whole batch but its
gradient reaches the encoder through each embedding apart. So embed chunk by chunk without a graph, take the loss and
its gradient with respect to the embeddings, then embed each chunk again with a graph and send that gradient back.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor

from sdvlm.types import SdvlmError

__all__ = ["BatchLoss", "Encoded", "cached_backward"]

Chunk = TypeVar("Chunk")


@dataclass(frozen=True, eq=False)
class Encoded:
    """What an encoder makes of one chunk.

    Args:
        embeddings: tensors whose first dimension counts the samples of the chunk: what the joint loss compares, one
            for each tower. One without gradient (a frozen teacher's) is passed through.
        own_loss: a loss of the chunk alone (a reconstruction), called once, on the pass that has a graph: () mean over
            the samples of the chunk. It enters the total by the chunk's share of the batch.
    """

    embeddings: tuple[Tensor, ...]
    own_loss: Callable[[], Tensor] | None = None


@dataclass(frozen=True, eq=False)
class BatchLoss:
    """Without gradient: () total, and what the joint loss and the chunks' own losses brought to it."""

    loss: Tensor
    joint: Tensor
    own: Tensor


def cached_backward(
    encode: Callable[[Chunk], Encoded], chunks: Sequence[Chunk], loss_of: Callable[..., Tensor]
) -> BatchLoss:
    """Backpropagate ``loss_of(*embeddings of all chunks) + mean of own losses``: gradients are added to ``.grad``.

    The gradient is that of the batch encoded at once. Torch's random numbers (CPU and current accelerator) are replayed
    for the second pass of a chunk, so dropout falls alike; encoders must draw from no other generator, and statistics
    that a forward pass updates (BatchNorm) are updated twice. One chunk is encoded once.

    Args:
        encode: chunk to its embeddings and its own loss; called twice a chunk.
        chunks: parts of the batch; they may differ in size.
        loss_of: (N, ...) tensors of the whole batch, one for each in ``Encoded.embeddings``, to a () loss; called once,
            so it may talk to other processes and may hold parameters of its own.

    Raises:
        SdvlmError: there is no chunk.
    """
    if not chunks:
        raise SdvlmError("a batch without chunks has no gradient; give at least one chunk")
    if len(chunks) == 1:
        encoded = encode(chunks[0])
        joint = loss_of(*encoded.embeddings)
        own = encoded.own_loss() if encoded.own_loss is not None else torch.zeros_like(joint)
        _backward(joint + own)
        return BatchLoss((joint + own).detach(), joint.detach(), own.detach())
    states, parts = [], []
    with torch.no_grad():
        for chunk in chunks:
            states.append(_random_state())
            parts.append(encode(chunk).embeddings)
    whole = [torch.cat(part).requires_grad_() for part in zip(*parts, strict=True)]
    sizes = [len(part[0]) for part in parts]
    del parts
    with torch.enable_grad():
        joint = loss_of(*whole)
        _backward(joint)
    gradients = [torch.split(one.grad if one.grad is not None else torch.zeros_like(one), sizes) for one in whole]
    total_own = torch.zeros_like(joint.detach())
    for number, (chunk, state) in enumerate(zip(chunks, states, strict=True)):
        _set_random_state(state)
        encoded = encode(chunk)
        outputs, towards = [], []
        for embedding, gradient in zip(encoded.embeddings, gradients, strict=True):
            if embedding.requires_grad:
                outputs.append(embedding)
                towards.append(gradient[number])
        if encoded.own_loss is not None:
            own = encoded.own_loss() * (sizes[number] / sum(sizes))
            total_own += own.detach()
            if own.requires_grad:
                outputs.append(own)
                towards.append(torch.ones_like(own))
        if outputs:
            torch.autograd.backward(outputs, towards)
    return BatchLoss(joint.detach() + total_own, joint.detach(), total_own)


def _backward(loss: Tensor) -> None:
    if loss.requires_grad:
        loss.backward()


def _random_state() -> tuple[Tensor, Tensor | None]:
    return torch.get_rng_state(), torch.cuda.get_rng_state() if torch.cuda.is_available() else None


def _set_random_state(state: tuple[Tensor, Tensor | None]) -> None:
    torch.set_rng_state(state[0])
    if state[1] is not None:
        torch.cuda.set_rng_state(state[1])
