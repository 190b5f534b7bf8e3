"""A frozen vision tower looks at a picture once: what the model reads of its output is kept on disk."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sdvlm.depth.cache import default_cache_folder
from sdvlm.fusion.towers import find_tower, tower_path
from sdvlm.models.families import family_of
from sdvlm.train.kept_merger import MergerCache
from sdvlm.train.kept_tower import TowerCache
from sdvlm.train.tensor_files import TensorFiles
from sdvlm.types import SdvlmError

__all__ = ["TowerCache", "attach", "why_not"]

_GB = 10**9


def why_not(model: Any) -> str | None:
    """One line that says why a model's tower features cannot be kept, or None.

    Args:
        model: a ``DepthVLM`` whose parameters say what is trained.
    """
    tower = find_tower(model.vlm.base_model)
    settings = model.config.fusion_settings
    if settings is not None and settings.in_tower:
        return f"the fusion '{settings.name}' works inside the vision tower, so its features depend on depth"
    below = _merger(model)
    trained = [
        name
        for name, parameter in tower.named_parameters()
        if parameter.requires_grad and not (below and name.startswith(f"{below}."))
    ]
    if not trained:
        return None
    return (
        f"the vision tower is trained ({len(trained)} tensors, {trained[0]}, ...), so its features change; "
        "set lr.vision_tower to 0"
    )


def attach(model: Any, folder: Path | None = None, gb: float = 50.0) -> TowerCache:
    """Keep the features of a model's frozen vision tower on disk from now on. A context manager, or ``detach()`` ends.

    Args:
        model: a ``DepthVLM``, its parameters frozen as they will be.
        folder: default: ``$SDVLM_CACHE/tower_features``, else ``~/.cache/sdvlm/tower_features``.
        gb: most disk it may take, 10^9 bytes; the least recently used features go.

    Raises:
        SdvlmError: the features cannot be kept (:func:`why_not`).
    """
    problem = why_not(model)
    if problem is not None:
        raise SdvlmError(f"cache_features: {problem}; or set cache_features to false")
    files = TensorFiles(folder or default_cache_folder("tower_features"), round(gb * _GB))
    below = _merger(model)
    host = model.vlm.base_model
    if below and any(one.requires_grad for one in find_tower(host).get_submodule(below).parameters()):
        return MergerCache(host, files, below)
    return TowerCache(host, files)


def _merger(model: Any) -> str | None:
    """Path, in the vision tower, of the projector, where that is a part of the tower."""
    between = family_of(model.config.vlm_config).between
    inside = f"{tower_path(model.vlm.base_model)}."
    return between.removeprefix(inside) if between.startswith(inside) else None
