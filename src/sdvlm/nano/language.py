"""Second stage of training: the language model learns to answer, all questions of a picture behind one prefix.

The picture's tokens go through the model once; its keys and values are then shared by the picture's questions, which
run as rows of a batch (``nano.prefix_attention``). The gradient is that of separate samples, the work an eighth.

Notation: B pictures, N image tokens, Q questions a picture, L tokens of the longest question and answer.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sdvlm.fusion.depth_grid import DepthGrid
from sdvlm.nano.facts import BetweenHead, FactsHead
from sdvlm.nano.grounding import fetching_loss, grounding_loss
from sdvlm.nano.numbers import ValuesHead
from sdvlm.nano.rows import QuestionRows

if TYPE_CHECKING:
    from transformers import LlamaModel, LlavaForConditionalGeneration

__all__ = ["AnswerLosses", "fused_tokens", "image_token_losses", "naming_losses"]

FETCHING_LAYER = 2
"""layer whose first heads are told to fetch, for an answer or a number in it, what the names know that it is about"""
COPYING_LAYER = -2
"""layer whose first head is told to look, for a name that is said, at the question's token that it repeats"""
GROUNDING_LAYER = 1
"""layer whose first heads are supervised: by then a name's last token knows its colour word"""


@dataclass(frozen=True)
class AnswerLosses:
    """Means over a step, but for the last.

    Args:
        answer: of the answers, each counting the same: the mean of its tokens.
        grounding: of the names' attention.
        facts: of what is read off the names' states.
        said: of what is read off the states that say numbers.
        fetching: of the attention of what begins an answer or says a number to the names it is about.
        copying: of the attention of what says a name to the question's token that it repeats.
        between: of how two names differ, read off the states that fetched them.
        per_row: (R,) mean answer loss of each question in order, detached.
    """

    answer: Tensor
    grounding: Tensor
    facts: Tensor
    said: Tensor
    fetching: Tensor
    copying: Tensor
    between: Tensor
    per_row: Tensor


def image_token_losses(
    vlm: LlavaForConditionalGeneration,
    fusion: nn.Module,
    features: Tensor,
    packed_depth: Tensor,
    batches: list[QuestionRows],
    facts: FactsHead,
    values: ValuesHead,
    between: BetweenHead,
    settling: bool = False,
) -> AnswerLosses:
    """Losses of answers, grounding and read-outs, given the tower's features.

    Args:
        features: (B, N, Dv) patch features of the tower.
        packed_depth: (B, N, C) packed depth grids, all NaN depth for pictures without.
        batches: questions, in each of them as many of every picture, those of one picture together. Several batches of
            like lengths waste less padding than one.
        facts: read-out of the names' states.
        values: read-out of the states that say numbers, before the last layer.
        between: read-out of the states that fetched names, right behind the layer that fetches.
        settling: the read-outs learn what they read, and the model is not moved to suit them: for fresh read-outs of a
            trained model.
    """
    model = vlm.model.language_model
    cache = _read_prefix(vlm, model, fused_tokens(vlm, fusion, features, packed_depth))
    answers, grounding, named, said, fetching, copying, apart = [], [], [], [], [], [], []
    copying_layer = len(model.layers) + COPYING_LAYER
    for batch in batches:
        out = _read_rows(model, batch, cache, 1 + features.shape[1])
        asked = batch.labels >= 0
        logits = vlm.lm_head(out.last_hidden_state[asked]).float()
        per_token = F.cross_entropy(logits, batch.labels[asked], reduction="none")
        total = per_token.new_zeros(len(batch.ids)).index_add(0, asked.nonzero()[:, 0], per_token)
        answers.append(total / asked.sum(1).clamp(min=1))
        of_names = _name_losses(model, batch, cache, out.hidden_states[: GROUNDING_LAYER + 2], facts, settling)
        grounding.append(of_names[0])
        named.append(of_names[1])
        before_last = _held(out.hidden_states[len(model.layers) - 1], settling)
        said.append(values.losses(before_last[batch.said_rows, batch.said_columns], batch.said))
        where = batch.fetch_rows, batch.fetch_columns
        fetching.append(
            fetching_loss(model, FETCHING_LAYER, out.hidden_states[FETCHING_LAYER], cache, *where, batch.fetch_of)
        )
        said_names = batch.copy_rows, batch.copy_columns
        copying.append(
            fetching_loss(model, copying_layer, out.hidden_states[copying_layer], cache, *said_names, batch.copy_of)
        )
        fetched = _held(out.hidden_states[FETCHING_LAYER + 1], settling)
        apart.append(between.losses(fetched[where], batch.between))
    return AnswerLosses(
        answer=torch.cat(answers).mean(),
        grounding=torch.cat(grounding).mean(),
        facts=torch.cat(named).mean(),
        said=torch.cat(said).mean(),
        fetching=torch.cat(fetching).mean(),
        copying=_mean_of_some(copying),
        between=_mean_of_some(apart),
        per_row=torch.cat(answers).detach(),
    )


def _mean_of_some(parts: list[Tensor]) -> Tensor:
    """The mean, 0 where there is nothing: a step may copy or compare nothing."""
    found = torch.cat(parts).flatten()
    return found.sum() / max(1, len(found))


def naming_losses(
    vlm: LlavaForConditionalGeneration,
    fusion: nn.Module,
    features: Tensor,
    packed_depth: Tensor,
    batches: list[QuestionRows],
    facts: FactsHead,
) -> tuple[Tensor, Tensor]:
    """The losses of grounding and facts alone, at a third of the cost: the model runs to the supervised layer.

    Arguments as for :func:`image_token_losses`.
    """
    model = _first_layers(vlm.model.language_model, GROUNDING_LAYER + 1)
    cache = _read_prefix(vlm, model, fused_tokens(vlm, fusion, features, packed_depth))
    grounding, named = [], []
    for batch in batches:
        states = _read_rows(model, batch, cache, 1 + features.shape[1]).hidden_states
        of_names = _name_losses(model, batch, cache, states, facts)
        grounding.append(of_names[0])
        named.append(of_names[1])
    return torch.cat(grounding).mean(), torch.cat(named).mean()


def fused_tokens(
    vlm: LlavaForConditionalGeneration, fusion: nn.Module, features: Tensor, packed_depth: Tensor
) -> Tensor:
    """(B, N, D) image tokens of the features (B, N, Dv) with the depth (B, N, C) in them."""
    count, tokens, _ = features.shape
    image = vlm.model.multi_modal_projector(features).flatten(0, 1)  # [B * N, D]
    index = torch.arange(count, device=image.device).repeat_interleave(tokens)
    fused: Tensor = fusion(image, DepthGrid.unpack(packed_depth.flatten(0, 1), index))
    return fused.view(count, tokens, -1)


def _held(states: Tensor, still: bool) -> Tensor:
    """The states, without a gradient if they are to stay as they are."""
    return states.detach() if still else states


def _name_losses(
    model: LlamaModel,
    batch: QuestionRows,
    cache: Any,
    states: tuple[Tensor, ...],
    facts: FactsHead,
    settling: bool = False,
) -> tuple[Tensor, Tensor]:
    before, behind = states[GROUNDING_LAYER], _held(states[GROUNDING_LAYER + 1], settling)
    grounding = grounding_loss(model, GROUNDING_LAYER, before, cache, batch.rows, batch.columns, batch.targets)
    return grounding, facts.losses(behind[batch.rows, batch.columns], batch.facts)


def _first_layers(model: LlamaModel, count: int) -> LlamaModel:
    """The same model, its own parameters, cut off after some layers, and without the norm behind the last."""
    shallow = copy.copy(model)
    shallow._modules = dict(model._modules)
    shallow.norm = nn.Identity()  # type: ignore[assignment]
    shallow.layers = model.layers[:count]
    return shallow


def _read_prefix(vlm: LlavaForConditionalGeneration, model: LlamaModel, image: Tensor) -> Any:
    """Cache of the first token and the image tokens (B, N, D) of each picture."""
    begin = torch.full((len(image), 1), vlm.config.get_text_config().bos_token_id, device=image.device)
    first = model.get_input_embeddings()(begin)
    embeds = _narrow(torch.cat([first, image.to(first.dtype)], dim=1))
    return model(inputs_embeds=embeds, use_cache=True).past_key_values


def _read_rows(model: LlamaModel, batch: QuestionRows, cache: Any, prefix: int) -> Any:
    """The model's output for question rows behind their pictures' prefixes."""
    positions = prefix + torch.arange(batch.ids.shape[1], device=batch.ids.device)[None]
    settings = {"use_cache": False, "output_hidden_states": True, "shared_prefix": cache}
    return model(inputs_embeds=_narrow(model.get_input_embeddings()(batch.ids)), position_ids=positions, **settings)


def _narrow(states: Tensor) -> Tensor:
    """In the precision of autocast, where it is on: the states that layers add to are then not widened in each."""
    device = states.device.type
    return states.to(torch.get_autocast_dtype(device)) if torch.is_autocast_enabled(device) else states
