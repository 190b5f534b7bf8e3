"""The depth network that a checkpoint brings along: a stock Hugging Face checkpoint in a sub-folder of its own."""

from __future__ import annotations

from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sdvlm.models.checkpoint import readable_errors

if TYPE_CHECKING:
    from sdvlm.depth.hf import HFDepthEstimator

__all__ = ["load_own_depth", "save_own_depth"]


def load_own_depth(folder_or_id: str | PathLike[str], name: str, device: str | None = None) -> HFDepthEstimator:
    """The network in the sub-folder ``name`` of a checkpoint.

    Args:
        folder_or_id: of the checkpoint.
        name: ``DepthVLMConfig.estimator``.
        device: torch device; default: the first accelerator there is, else the CPU.

    Raises:
        SdvlmError: it is not there, damaged or incomplete.
    """
    from sdvlm.depth.hf import load_hf_estimator

    folder = Path(folder_or_id)
    if not folder.is_dir():
        from huggingface_hub import snapshot_download

        with readable_errors(folder_or_id):
            folder = Path(snapshot_download(str(folder_or_id), allow_patterns=[f"{name}/*"]))
    return load_hf_estimator(str(folder / name), device=device)


def save_own_depth(estimator: Any, folder: Path) -> None:
    """What :func:`load_own_depth` loads, as files."""
    estimator.model.save_pretrained(folder)
    estimator.processor.save_pretrained(folder)
