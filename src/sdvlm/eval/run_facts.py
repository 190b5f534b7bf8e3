"""What a run was made with: code, machine, weights. Enough to make it again, and to notice that something changed."""

from __future__ import annotations

import hashlib
import platform
import subprocess
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

import sdvlm
from sdvlm.machine import hardware

__all__ = ["code_commit", "model_facts", "now", "software", "weights_digest"]

_PACKAGES = ("torch", "transformers", "numpy", "tokenizers", "pillow")
_SAMPLES = 1024


def now() -> str:
    """The time in UTC, to the second."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def software() -> dict[str, Any]:
    """Versions, the commit of this code where it runs from a git checkout, and the machine."""
    versions = {"python": platform.python_version(), "sdvlm": sdvlm.__version__}
    for package in _PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    return {"versions": versions, "commit": code_commit(), "hardware": hardware()}


def code_commit() -> str | None:
    """The commit of the checkout that this package runs from, "+changes" where files differ from it; None elsewhere."""
    root = Path(__file__).resolve().parents[3]
    if not (root / ".git").exists():
        return None
    try:
        head, changes = (
            subprocess.run(["git", "-C", str(root), *words], capture_output=True, text=True, timeout=20, check=True)
            for words in (["rev-parse", "HEAD"], ["status", "--porcelain", "--", "src"])
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return head.stdout.strip() + ("+changes" if changes.stdout.strip() else "")


def model_facts(name: str, model: Any) -> dict[str, Any]:
    """Which model answered.

    Args:
        name: as it was given: ``nano``, a folder or a hub id.
        model: the loaded ``DepthVLM``.

    Returns:
        name; number of parameters, dtype, device; digest of the weights as loaded (:func:`weights_digest`); SHA-256 of
        ``config.json`` and of the weights' index where there is such a folder, and the sizes of its weights files.
    """
    config: Any = getattr(model, "config", None)
    facts: dict[str, Any] = {
        "name": name,
        "class": type(getattr(model, "vlm", model)).__name__,
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "dtype": str(model.dtype).removeprefix("torch."),
        "device": model.device.type,
        "weights_digest": weights_digest(model),
        "revision": getattr(config, "_commit_hash", None),
    }
    folder = Path(name)
    if folder.is_dir():
        named = [folder / "config.json", *sorted(folder.glob("*.index.json"))]
        facts["sha256"] = {path.name: _sha256(path) for path in named if path.is_file()}
        weights = sorted(path for path in folder.iterdir() if path.suffix in (".safetensors", ".bin"))
        facts["weights_bytes"] = {path.name: path.stat().st_size for path in weights}
    return facts


def weights_digest(model: torch.nn.Module) -> str:
    """Digest of the weights that answer, whatever files they came from.

    Names, shapes, dtypes and up to 1024 evenly spaced values of every parameter: training, merging or casting changes
    it, the layout of the files does not. Reading all values of a model of 7B would take longer than its first answers.
    """
    digest = hashlib.blake2b(digest_size=16)
    for name, parameter in sorted(model.named_parameters()):
        flat = parameter.detach().reshape(-1)
        digest.update(f"{name}{tuple(parameter.shape)}{parameter.dtype}".encode())
        if flat.numel():
            chosen = torch.linspace(0, flat.numel() - 1, min(_SAMPLES, flat.numel()), dtype=torch.float64)
            values = flat[chosen.round().long().to(flat.device)]
            digest.update(values.to("cpu", torch.float32).numpy().tobytes())
    return digest.hexdigest()


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
