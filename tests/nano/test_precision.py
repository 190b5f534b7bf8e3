"""Training multiplies in bfloat16 where that is fast, and in float32 elsewhere."""

import pytest
import torch

from sdvlm.nano.precision import fast_arithmetic, multiplies_bfloat16


@pytest.mark.parametrize("flags", [{"amx_bf16": True}, {"avx512_bf16": True}])
def test_a_cpu_that_multiplies_bfloat16_is_used_so(monkeypatch: pytest.MonkeyPatch, flags: dict[str, bool]) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: flags, raising=False)
    with fast_arithmetic(torch.device("cpu")):
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == torch.bfloat16


@pytest.mark.parametrize("flags", [{}, {"avx2": True, "avx512_bf16": False}])
def test_another_cpu_stays_in_float32(monkeypatch: pytest.MonkeyPatch, flags: dict[str, bool]) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: flags, raising=False)
    with fast_arithmetic(torch.device("cpu")):
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == torch.float32


def test_a_gpu_multiplies_bfloat16_and_a_torch_that_cannot_tell_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
    assert multiplies_bfloat16(torch.device("cuda"))
    assert not multiplies_bfloat16(torch.device("cpu"))
