"""In which precision training multiplies: bfloat16 where the device does that in hardware, else float32.

On a CPU without AMX or AVX-512's bfloat16 the products are emulated, ten times slower than float32 ones (measured on
an AMD EPYC with AVX2: 5 against 60 GFLOP/s a core).
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch

__all__ = ["fast_arithmetic", "multiplies_bfloat16"]


def multiplies_bfloat16(device: torch.device) -> bool:
    """Whether the device multiplies bfloat16 in hardware."""
    if device.type != "cpu":
        return True
    capabilities: dict[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()  # torch that cannot tell: float32
    return bool(capabilities.get("amx_bf16") or capabilities.get("avx512_bf16"))


def fast_arithmetic(device: torch.device) -> AbstractContextManager[Any]:
    """Autocast to bfloat16 where that is fast, nothing elsewhere."""
    return torch.autocast(device.type, torch.bfloat16) if multiplies_bfloat16(device) else nullcontext()
