"""The recipe of the shipped nano weights: every number that training depends on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from sdvlm.nano.config import NanoConfig
from sdvlm.nano.frames import ShardConfig

__all__ = ["ARMS", "ON_THE_WAY", "Recipe", "continued"]

ON_THE_WAY = "weights-on-the-way"
"""folder of an arm that holds the checkpoints kept before the last"""


@dataclass(frozen=True)
class Recipe:
    """Data, two stages of training, seeds."""

    config: NanoConfig = field(default_factory=NanoConfig)
    """sizes of the model"""
    start: str = ""
    """folder of a nano checkpoint that tower, language model, fusion and tokenizer start from; none: fresh ones"""
    shard: ShardConfig = field(default_factory=ShardConfig)
    """what a shard of data holds"""
    shards: int = 200
    """shards of training data; shard i is made from seed ``data_seed + i``"""
    tower_share: float = 0.6
    """share of the shards, the first ones, that the tower learns from; the language stages learn from the others, whose
    features the tower has not learned by heart"""
    data_seed: int = 1_000_000
    """first seed of the training rooms; held-out rooms have seeds below"""
    seed: int = 0
    """seed of weights and sampling"""
    vocab_size: int = 1024
    """entries of the tokenizer"""
    tower_steps: int = 8_000
    """optimiser steps of the first stage (dense labels); none leave the tower of ``start`` as it is"""
    tower_lr: float = 1e-3
    """peak learning rate of the first stage"""
    tower_batch: int = 16
    """pictures a step in the first stage"""
    naming_steps: int = 2_500
    """optimiser steps of the second stage (names to patches, and to what they measure)"""
    naming_lr: float = 2e-3
    """peak learning rate of the second stage"""
    steps: int = 4_000
    """optimiser steps of the third stage (answers)"""
    pictures: int = 12
    """pictures a step"""
    questions: int = 8
    """questions of each picture in a step; twice as many cost half as much again, as they share the picture"""
    buckets: int = 4
    """batches of like length that a step's questions are cut into, to waste less padding"""
    lr: float = 2e-3
    """peak learning rate of the third stage"""
    weight_decay: float = 0.02
    """AdamW, matrices only"""
    warmup: float = 0.05
    """share of the steps in which the learning rate rises; then it falls as a cosine to a fiftieth"""
    depth_dropout: float = 0.12
    """share of pictures shown without depth; 1 trains the control without depth"""
    scaled_depth: float = 0.6
    """share of the pictures with depth whose depth and true lengths are scaled together"""
    largest_scale: float = 3.0
    """the scale is between this and one over this, log-uniform"""
    noisy_depth: float = 0.3
    """share of the pictures with depth whose depth gets noise and holes"""
    invented_names: float = 0.3
    """share of the questions that name the most prominent thing in which it goes by an invented word"""
    metric_reference: float = 0.6
    """share of the reference heights in another unit than metres that are given in metres all the same"""
    noisy_wording: float = 0.25
    """share of the questions whose words that ask nothing are varied at random"""
    facts_weight: float = 4.0
    """weight of the facts loss beside the grounding loss"""
    grounding_weight: float = 1.0
    """weight of the grounding loss at the start of the third stage; falls to a tenth of it over training"""
    said_weight: float = 1.0
    """weight of the loss of the values read off the states that say numbers"""
    keep_every: int = 0
    """steps of the third stage, in hundreds, between checkpoints kept on the way for the curve over compute; 0: none"""
    compiled: bool = False
    """compile the language model's layers; needs a C++ compiler, and minutes on a CPU, so it is for long runs"""
    device: str = "cpu"
    """torch device that the stages run on"""


def continued(recipe: Recipe, start: str) -> Recipe:
    """The recipe from a trained checkpoint on: half the learning rates, and no stage of names."""
    return replace(
        recipe,
        start=start,
        tower_lr=recipe.tower_lr / 2,
        lr=recipe.lr / 2,
        naming_lr=recipe.naming_lr / 2,
        naming_steps=0,
    )


def _without_depth(recipe: Recipe) -> Recipe:
    return replace(recipe, config=replace(recipe.config, early=False), depth_dropout=1.0)


def _min_max(recipe: Recipe) -> Recipe:
    config = replace(recipe.config, fusion_name="dpe", coordinate="minmax", early=False)
    return replace(recipe, config=config, scaled_depth=0.0)


ARMS: dict[str, Callable[[Recipe], Recipe]] = {
    "with-depth": lambda recipe: recipe,
    "without-depth": _without_depth,
    "min-max": _min_max,
}
"""What the last two stages are run as: the shipped model; the same recipe without depth; a depth code stretched between
the nearest and the farthest token of each picture, as SD-VLM's release has it. The two controls cannot tell a picture
from the same picture of another scale, and are not shown scaled ones, whose answers they could only guess."""
