"""Everything that stands before the questions of a picture, made fast: the frozen tower's features are not made again.

The tokens come out of the real ``DepthVLM`` and the prompts out of the real ``DepthProcessor``'s placing of depth, so
any fusion works here as it does there; what is kept is what does not change while the tower is frozen: its features of
the pictures, and the pooled depth, which is multiplied where a picture is shown larger.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence
from transformers.modeling_outputs import BaseModelOutputWithPooling

from sdvlm.ablation.draw import Drawn
from sdvlm.ablation.rooms import Rooms
from sdvlm.ablation.rows import Prefix, QuestionRow
from sdvlm.ablation.sources import DepthSource
from sdvlm.fusion.pixel_layout import lay_out
from sdvlm.fusion.renderers import render_depth
from sdvlm.models.conversation import Prompt
from sdvlm.models.processor import DepthProcessor
from sdvlm.models.wrapper import DepthVLM
from sdvlm.nano.depth_changes import drop_depth, scale_depth
from sdvlm.nano.train_tower import normalise
from sdvlm.types import DepthMap

__all__ = ["CachedTower", "PrefixMaker"]

_PROBE = "?"


class CachedTower(nn.Module):
    """In the place of a frozen tower: gives kept features of the pictures, runs the tower on those it has not seen.

    Args:
        tower: the frozen one.
        features: (F, 1 + N, Dv) its last hidden states of the pictures.
    """

    def __init__(self, tower: nn.Module, features: Tensor) -> None:
        super().__init__()
        self.tower, self.features = tower, features
        self.chosen: list[int | None] = []
        self.config: Any = tower.config

    def forward(self, pixel_values: Tensor, **kwargs: Any) -> BaseModelOutputWithPooling:
        """Of the pictures in ``chosen``, one a row of ``pixel_values``; None: not kept, its pixels are read."""
        fresh = [row for row, index in enumerate(self.chosen) if index is None]
        kept = [0 if index is None else index for index in self.chosen]
        states = self.features[kept].to(next(self.tower.parameters()).dtype)
        if fresh:
            with torch.no_grad():
                states[fresh] = self.tower(pixel_values[fresh]).last_hidden_state.to(states.dtype)
        return BaseModelOutputWithPooling(last_hidden_state=states, hidden_states=(states,))


class PrefixMaker:
    """Prefixes and question rows of the pictures of a step.

    Args:
        model: with the fusion that is trained; its tower is frozen.
        processor: of that model.
        rooms: the pictures.
        source: of their depth; None: none is ever shown.
        features: (F, 1 + N, Dv) of the tower, for a ``CachedTower``; None: the tower runs each time.
    """

    def __init__(
        self,
        model: DepthVLM,
        processor: DepthProcessor,
        rooms: Rooms,
        source: DepthSource | None,
        features: Tensor | None = None,
    ) -> None:
        self.model, self.processor, self.rooms, self.source = model, processor, rooms, source
        self.settings = processor.fusion
        self.size = (rooms.pictures.shape[2], rooms.pictures.shape[1])
        self.image_tokens = len(processor.grid.boxes(self.size))
        self.picture = Image.fromarray(rooms.pictures[0])
        self._packed: dict[int, Tensor] = {}
        self._cached: CachedTower | None = None
        host: Any = model.vlm.base_model
        if features is not None and not (self.settings is not None and self.settings.in_tower):
            self._cached = host.vision_tower = CachedTower(host.vision_tower, features)

    def restore(self) -> None:
        """Give the model its own tower back."""
        if self._cached is not None:
            self.model.vlm.base_model.vision_tower = self._cached.tower
            self._cached = None

    def prefixes(self, drawn: Sequence[Drawn]) -> Prefix:
        """(B, P, D) embeddings of what stands before the questions of B pictures."""
        maps = [self.depth(one) for one in drawn]
        image: list[Tensor] = list(self._pictures(drawn, maps))
        embed = self.model.get_input_embeddings()
        sequences = []
        for depth in maps:
            ids, _, _ = self.frame(depth)
            sequence = embed(ids)
            room = ids == self.processor.processor.image_token_id
            slots = int(room.sum()) // self.image_tokens
            mine = torch.cat([image.pop(0) for _ in range(slots)])
            sequences.append(sequence.masked_scatter(room[:, None], mine.to(sequence.dtype)))
        lengths = torch.tensor([len(one) for one in sequences])
        return Prefix(pad_sequence(sequences, batch_first=True), lengths)

    def rows(self, drawn: Sequence[Drawn]) -> list[list[QuestionRow]]:
        """The questions of each picture as tokens behind its prefix."""
        return [self._rows(one) for one in drawn]

    def depth(self, one: Drawn) -> DepthMap | None:
        """The map a picture is shown with."""
        return self.source.map(one.index, one.factor) if self.source is not None and one.depth else None

    def frame(self, depth: DepthMap | None) -> tuple[Tensor, str, str]:
        """(P,) prefix tokens with room for the image tokens, and the text on either side of a question."""
        placer = self.processor.placer
        shown = placer.checked([self.picture], [depth], None, None)
        (worded,) = placer.worded_alike([Prompt(self.processor.question_prompt(_PROBE))], shown)
        place = worded.text.rindex(_PROBE)
        before, behind = worded.text[:place], worded.text[place + len(_PROBE) :]
        lead = before.rstrip()  # white space belongs to the question's first word
        mark = self.processor.processor.image_token
        ids = self._tokens(lead.replace(mark, mark * self.image_tokens))
        return torch.tensor(ids), before[len(lead) :], behind

    def _rows(self, one: Drawn) -> list[QuestionRow]:
        _, glue, behind = self.frame(self.depth(one))
        start, end = self._around_answers
        rows = []
        for question in one.questions:
            asked = self._tokens(glue + question.question + behind)
            rows.append(QuestionRow((*asked, *self._tokens(start + question.answer + end)), len(asked) - 1))
        return rows

    @cached_property
    def _around_answers(self) -> tuple[str, str]:
        """What the model's template writes, and trains, before and behind an answer."""
        asked = {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": _PROBE}]}
        prompt = self.processor.prompts.training([asked, {"role": "assistant", "content": _PROBE}])
        ((first, stop),) = prompt.answers
        start, _, end = prompt.text[first:stop].partition(_PROBE)
        return start, end

    def _tokens(self, text: str) -> list[int]:
        ids: list[int] = self.processor.tokenizer(text, add_special_tokens=False)["input_ids"]
        return ids

    def _pictures(self, drawn: Sequence[Drawn], maps: Sequence[DepthMap | None]) -> Sequence[Tensor]:
        """(N, D) tokens of every picture slot of the prompts, in order."""
        settings, place = self.settings, None if self.settings is None else self.settings.place
        drawing = settings is not None and settings.name == "depth_image"
        doubled = [place == "picture" and one is not None for one in maps]
        indices = [one.index for one in drawn]
        if drawing:
            pixels, chosen = self._drawn_pixels(indices, maps)
        else:
            pixels, chosen = self._pixels(indices), list(indices)
        if self._cached is not None:
            self._cached.chosen = chosen
        inputs: dict[str, Any] = {"pixel_values": pixels}
        if settings is not None and not drawing and place != "text" and any(one is not None for one in maps):
            slots = [slot for has in doubled for slot in ([False, True] if has else [False])]
            planes = None if settings.channels is None else self._planes(indices, maps)
            grid = torch.cat([self._grid(one, depth) for one, depth in zip(drawn, maps, strict=True)])
            inputs = self.model.seam(
                inputs, grid, planes, torch.tensor(slots) if place == "picture" else None
            )  # the tokens of all slots
            out = inputs["mm_encoder_outputs"]["image"]
        else:
            out = self.model.vlm.base_model.get_image_features(**inputs, return_dict=True)
        found: Sequence[Tensor] = out["pooler_output"]
        return found

    def _pixels(self, indices: list[int]) -> Tensor:
        """(B, 3, S, S) as the processor makes them; blank where the tower does not look."""
        if self._cached is not None:
            return torch.zeros(len(indices), 1)
        return normalise(torch.from_numpy(self.rooms.pictures[indices]))

    def _drawn_pixels(self, indices: list[int], maps: Sequence[DepthMap | None]) -> tuple[Tensor, list[int | None]]:
        """Pixels of each picture and of its drawn depth, and which pictures need none as their features are kept."""
        assert self.settings is not None
        chosen: list[int | None] = []
        canvases = []
        for index, depth in zip(indices, maps, strict=True):
            chosen.append(index)
            canvases.append(torch.from_numpy(self.rooms.pictures[index]))
            if depth is not None:
                chosen.append(None)
                canvases.append(torch.from_numpy(render_depth(depth, self.settings.renderer)))
        return normalise(torch.stack(canvases)), chosen

    def _planes(self, indices: list[int], maps: Sequence[DepthMap | None]) -> Tensor:
        """The depth maps as the tower reads them."""
        channels = None if self.settings is None else self.settings.depth_channels
        assert channels is not None
        planes = [
            torch.from_numpy(channels.planes(depth, self.rooms.camera(index), size=self.size))
            for index, depth in zip(indices, maps, strict=True)
        ]
        laid: Tensor = lay_out(planes, self.model.vlm.config.vision_config)["pixel_values"]
        return laid

    def _grid(self, one: Drawn, depth: DepthMap | None) -> Tensor:
        """(N, C) packed depth of one picture."""
        assert self.source is not None
        kept = self.source.packed
        if kept is not None and self.settings is not None and self.settings.pooling == "boxes":
            self._packed.setdefault(one.index, kept[one.index])
        if one.index not in self._packed:
            found = self.processor.depth_grid([self.size], [self.source.map(one.index)], [self.rooms.camera(one.index)])
            assert found is not None
            self._packed[one.index] = found
        packed = self._packed[one.index]
        if depth is None:
            return drop_depth(packed)
        return scale_depth(packed, one.factor) if self.source.follows_scale and one.factor != 1.0 else packed
