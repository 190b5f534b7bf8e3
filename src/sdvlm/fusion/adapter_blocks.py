"""The parts of a side adapter: a depth pyramid, what it reads from a tower's layer and what it writes into it.

Notation: P pictures of h x w patches, W the adapter's width, D the tower's. A map is (P, rows, columns, channels); the
pyramid has three levels of cells: half a patch, a patch and two patches wide.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sdvlm.fusion.add import GATE_STEP

__all__ = ["Pyramid", "Stage", "Stem"]

Pyramid = list[tuple[Tensor, Tensor]]
"""per level, finest first: (P, r, c, W) states of its cells, zero where unknown, and (P, r, c, 1) bool, cell known"""

_NEIGHBOURS = [(row, column) for row in range(3) for column in range(3)]
_SLOTS = 4 + len(_NEIGHBOURS) + 1
"""cells a token attends to: the four within it, its patch and the eight around, the one of two patches"""
_UNSEEN = -1e4
"""score of an unknown cell: finite, so that a token with none known has a gradient of zero and not NaN"""


def _like(patches: Tensor, level: int) -> Tensor:
    """A (P, h, w, W) map of the patches on the cells of a level: repeated on finer ones, averaged on coarser ones."""
    if level == 0:
        return patches.repeat_interleave(2, dim=1).repeat_interleave(2, dim=2)
    if level == 1:
        return patches
    return F.avg_pool2d(patches.movedim(-1, 1), 2, ceil_mode=True).movedim(1, -1)  # at an odd edge: of those there


class Stem(nn.Module):
    """Depth planes to a pyramid: strided convolutions without overlap, so that no cell sees beyond itself.

    The planes are read in float32 whatever the weights' dtype: bfloat16 would round depth to one per cent.

    Args:
        channels: planes of the depth map; which pixels are known is added as one more.
        width: W.
        patch: pixels along a side of the tower's patches, even.
    """

    def __init__(self, channels: int, width: int, patch: int) -> None:
        super().__init__()
        self.pixels = nn.Conv2d(channels + 1, width, patch // 2, stride=patch // 2)
        self.mixes = nn.ModuleList(nn.Linear(width, width) for _ in range(3))
        self.joins = nn.ModuleList(nn.Linear(4 * width, width) for _ in range(2))

    def forward(self, planes: Tensor) -> Pyramid:
        """(P, C, H, W) float32 planes, zero in all of them where depth is unknown, to their pyramid."""
        known = (planes != 0).any(dim=1, keepdim=True)
        with torch.autocast(device_type=planes.device.type, enabled=False):
            seen = torch.cat([planes.float(), known.float()], dim=1)
            bias = None if self.pixels.bias is None else self.pixels.bias.float()
            cells = F.conv2d(seen, self.pixels.weight.float(), bias, stride=self.pixels.stride)
            there = F.max_pool2d(known.float(), self.pixels.kernel_size, self.pixels.stride).movedim(1, -1) > 0
            state = F.gelu(cells).movedim(1, -1)
        pyramid: Pyramid = []
        for level, mix in enumerate(self.mixes):
            if level:
                state, there = F.gelu(self.joins[level - 1](_joined(state))), _joined(there).any(dim=-1, keepdim=True)
            state = mix(state.to(self.pixels.weight.dtype)) * there
            pyramid.append((state, there))
        return pyramid


def _joined(cells: Tensor) -> Tensor:
    """(P, r, c, W) to (P, r / 2, c / 2, 4 W), rounded up: each 2 x 2 cells side by side; beyond the edge are zeros."""
    pictures, rows, columns, width = cells.shape
    if rows % 2 or columns % 2:
        cells = F.pad(cells, (0, 0, 0, columns % 2, 0, rows % 2))
    blocks = cells.unflatten(2, (-1, 2)).unflatten(1, (-1, 2)).transpose(2, 3)
    joined: Tensor = blocks.reshape(pictures, (rows + 1) // 2, (columns + 1) // 2, 4 * width)
    return joined


class _Extractor(nn.Module):
    """What a cell takes from the tokens over it, through a gate that both decide, and from the cells around it."""

    def __init__(self, width: int) -> None:
        super().__init__()
        narrow = max(1, width // 4)
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(2))
        self.gate, self.value = nn.Linear(2 * width, width), nn.Linear(width, width)
        self.down, self.up = nn.Linear(width, narrow), nn.Linear(narrow, width)
        self.around = nn.Conv2d(narrow, narrow, 3, padding=1, groups=narrow)

    def forward(self, pyramid: Pyramid, tokens: Tensor) -> Pyramid:
        """The pyramid and (P, h, w, W) tokens to the pyramid one stage on."""
        read: Pyramid = []
        for level, (state, there) in enumerate(pyramid):
            above = _like(tokens, level)
            gate = torch.sigmoid(self.gate(torch.cat([self.norms[0](state).to(above.dtype), above], dim=-1)))
            state = (state + gate * self.value(above)) * there
            narrow = self.around((self.down(self.norms[1](state).to(above.dtype)) * there).movedim(-1, 1))
            state = (state + self.up(F.gelu(narrow.movedim(1, -1)))) * there
            read.append((state, there))
        return read


class _Injector(nn.Module):
    """Attention of each token to the depth cells around it; the result is added through a factor a channel, zero first.

    Each place around a token has its own key and its own weight a channel on the values, so that channels can take the
    difference of two cells (an edge) where attention alone takes means. Nothing of a far cell reaches a token here: the
    cost grows with the tokens and not with their square. The factor counts ``fusion.add.GATE_STEP`` fold.
    """

    def __init__(self, tower_width: int, width: int) -> None:
        super().__init__()
        self.heads = max(n for n in range(1, max(1, width // 16) + 1) if width % n == 0)
        self.norm = nn.LayerNorm(width)
        self.query, self.key, self.value = (nn.Linear(width, width) for _ in range(3))
        self.slot_keys = nn.Parameter(torch.empty(_SLOTS, width))
        self.slot_weights = nn.Parameter(torch.empty(_SLOTS, width))
        self.out = nn.Linear(width, tower_width)
        self.gamma = nn.Parameter(torch.zeros(tower_width))
        nn.init.normal_(self.slot_keys, std=0.5)
        nn.init.normal_(self.slot_weights, mean=1.0)

    def forward(self, tokens: Tensor, pyramid: Pyramid) -> tuple[Tensor, Tensor]:
        """(P, h, w, W) tokens and the pyramid to the (P, h, w, D) update and (P, h, w, 1) bool, some cell is known."""
        normed = [(self.norm(state).to(tokens.dtype), there) for state, there in pyramid]
        keys = _around([(self.key(state), there) for state, there in normed])
        values = _around([(self.value(state), there) for state, there in normed])
        query = self.query(tokens).unflatten(-1, (self.heads, -1))  # [P, h, w, heads, W / heads]
        of_slots = torch.einsum("...hd,shd->s...h", query, self.slot_keys.unflatten(-1, (self.heads, -1)))
        scores = []
        for (key, there), of_slot in zip(keys, of_slots, strict=True):
            score = (query * key.unflatten(-1, (self.heads, -1))).sum(dim=-1) + of_slot
            scores.append((score.float() / query.shape[-1] ** 0.5).masked_fill(~there, _UNSEEN))
        weights = torch.stack(scores).softmax(dim=0).to(query.dtype)[..., None]  # [slots, P, h, w, heads, 1]
        gathered = torch.zeros_like(query)
        for weight, (value, _), place in zip(weights, values, self.slot_weights, strict=True):
            gathered = gathered + weight * (value * place).unflatten(-1, (self.heads, -1))
        known = torch.stack([there for _, there in keys]).any(dim=0)
        return self.out(gathered.flatten(-2)) * (GATE_STEP * self.gamma), known


def _around(pyramid: Pyramid) -> list[tuple[Tensor, Tensor]]:
    """For each slot the (P, h, w, W) cell that each token finds there and (P, h, w, 1) bool, whether it is known."""
    (fine, fine_there), (same, same_there), (coarse, coarse_there) = pyramid
    rows, columns = same.shape[1:3]
    slots = [(fine[:, i::2, j::2], fine_there[:, i::2, j::2]) for i in range(2) for j in range(2)]
    padded, padded_there = (F.pad(cells, (0, 0, 1, 1, 1, 1)) for cells in (same, same_there))
    for i, j in _NEIGHBOURS:
        window = slice(i, i + rows), slice(j, j + columns)
        slots.append((padded[:, *window], padded_there[:, *window]))
    over, over_there = (
        cells.repeat_interleave(2, dim=1).repeat_interleave(2, dim=2)[:, :rows, :columns]
        for cells in (coarse, coarse_there)
    )
    return [*slots, (over, over_there)]


class Stage(nn.Module):
    """One place in the tower: the pyramid reads the layer's tokens, then the tokens read the pyramid.

    Args:
        tower_width: D.
        width: W.
    """

    def __init__(self, tower_width: int, width: int) -> None:
        super().__init__()
        self.norm, self.down = nn.LayerNorm(tower_width), nn.Linear(tower_width, width)
        self.extractor, self.injector = _Extractor(width), _Injector(tower_width, width)

    def forward(self, tokens: Tensor, pyramid: Pyramid) -> tuple[Tensor, Tensor, Pyramid]:
        """(P, h, w, D) tokens a layer takes in and the pyramid.

        Returns:
            (P, h, w, D) update of the tokens, zero in a fresh adapter; (P, h, w, 1) bool, tokens with a known cell
            around; the pyramid one stage on.
        """
        narrow = self.down(self.norm(tokens.to(self.norm.weight.dtype)).to(self.down.weight.dtype))
        pyramid = self.extractor(pyramid, narrow)
        update, known = self.injector(narrow, pyramid)
        return update, known, pyramid
