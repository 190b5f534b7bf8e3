"""What every bench result says besides its figures: the command, the machine, the versions, the day."""

from __future__ import annotations

import json
import os
import platform
import sys
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from sdvlm.depth.atomic import atomic_file

__all__ = ["document", "hardware", "peak_memory_mb", "write_document"]


def document(name: str, options: dict[str, Any], figures: dict[str, Any]) -> dict[str, Any]:
    """Figures with what they were measured on. ``options`` are those given, as the command line spells them."""
    words = ["sdvlm", "bench", name]
    for key, value in options.items():
        words += [f"--{key}"] if value is True else [f"--{key}", str(value)]
    return {
        "bench": name,
        "command": " ".join(words),
        "date": datetime.now(UTC).strftime("%Y-%m-%dT%H:%MZ"),
        "hardware": hardware(),
        "versions": {"python": platform.python_version()}
        | {package: version(package) for package in ("sdvlm", "torch", "transformers", "numpy")},
        **figures,
    }


def hardware() -> dict[str, Any]:
    """The processor, its cores, the threads torch uses, and how busy the machine was."""
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    return {
        "cpu": _cpu_model(),
        "cores": os.cpu_count(),
        "torch_threads": torch.get_num_threads(),
        "load_1min": None if load is None else round(load, 1),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
    }


def _cpu_model() -> str:
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def peak_memory_mb() -> float:
    """Most memory this process has had at one time (resident set), MiB."""
    status = Path("/proc/self/status")
    if status.is_file():  # ru_maxrss also counts the parent that a spawned process was forked from
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
    import resource  # not on every system

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2**20 if sys.platform == "darwin" else peak / 1024


def write_document(result: dict[str, Any], path: Path) -> None:
    """As indented JSON, whole or not at all."""
    with atomic_file(path) as stream:
        stream.write((json.dumps(result, indent=2) + "\n").encode())
