"""Low-rank adapters on the language model of a ``DepthVLM``, as PEFT makes, names and stores them.

The layers are put into the wrapped model in place: ``model.vlm`` stays the object and class it was, module paths stay,
and there is no second copy of anything. Modules trained in full beside the adapters (the projector) are trained where
they are; in files they go by PEFT's ``modules_to_save``, so that stock PEFT puts both onto the plain base model.
LoRA: arXiv 2106.09685, section 4.1.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from sdvlm.extras import require
from sdvlm.models import checkpoint
from sdvlm.types import SdvlmError

if TYPE_CHECKING:
    from sdvlm.models.wrapper import DepthVLM

__all__ = [
    "adapter_settings",
    "adapter_tensors",
    "add_lora",
    "check_fit",
    "check_whole",
    "fill_adapter",
    "inject",
    "language_model",
    "merge_adapter",
]

_NAME = "default"
_STORED = "base_model.model."
_PURPOSE = "training with LoRA"


def add_lora(model: DepthVLM, r: int, alpha: int, dropout: float = 0.0, trained: Sequence[str] = ()) -> Any:
    """Put adapters on all linear layers of the language model but head and routers; freeze the rest of ``model.vlm``.

    An adapter adds ``alpha / r * B A x`` and starts as zero. It is float32 whatever the frozen weights are. The fusion
    is left as it is.

    Args:
        model: changed in place.
        r, alpha, dropout: rank, scale, and dropout of the adapters' input.
        trained: paths of modules under ``model.vlm`` that are trained in full and saved along, such as
            ``model.multi_modal_projector``. They are set to train; their dtype stays.

    Returns:
        PEFT's ``LoraConfig``.

    Raises:
        SdvlmError: PEFT is not installed, there are adapters already, the model has no language model of its own, or a
            path of ``trained`` is of no module, or of one that adapters sit in.
    """
    peft = require("peft", _PURPOSE)
    vlm = model.vlm
    if adapter_settings(model) is not None:
        raise SdvlmError("the model has adapters already; merge them first (sdvlm merge), or go on training them")
    language = language_model(vlm)
    linear = {name: module for name, module in vlm.named_modules() if isinstance(module, nn.Linear)}
    names = list(linear)
    adapted = [name for name in names if name.startswith(f"{language}.") and not _own_kind(linear[name])]
    modules = [name for name, _ in vlm.named_modules()]
    for path in trained:
        if path not in modules or [name for name in modules if name.endswith(path)] != [path]:
            raise SdvlmError(f"{type(vlm).__name__} has no one module '{path}' to train in full; give its whole path")
        if any(path.startswith(f"{one}.") for one in trained):
            raise SdvlmError(f"'{path}' is inside another module that is trained in full; name the outer one alone")
        if any(name == path or name.startswith(f"{path}.") or path.startswith(f"{name}.") for name in adapted):
            raise SdvlmError(f"'{path}' gets adapters, so it cannot be trained in full too; take one of the two")
    settings = peft.LoraConfig(
        r=r, lora_alpha=alpha, lora_dropout=dropout, bias="none", target_modules=_pattern(adapted, names)
    )
    inject(model, settings, trained)
    return settings


def inject(model: DepthVLM, settings: Any, trained: Sequence[str] = (), empty: bool = False) -> None:
    """Put the adapters of a ``LoraConfig`` into the model; all of ``model.vlm`` but them and ``trained`` is frozen.

    Args:
        model: changed in place.
        settings: its ``modules_to_save`` is set to ``trained``.
        trained: as :func:`add_lora`.
        empty: leave the adapters without values, for :func:`fill_adapter`.
    """
    settings.modules_to_save = None  # PEFT would put a copy of them beside the module
    with warnings.catch_warnings():  # PEFT asks transformers for what it has renamed since (0.21 and 5.23)
        warnings.filterwarnings("ignore", message=".*is_gradient_checkpointing.*", category=FutureWarning)
        require("peft", _PURPOSE).get_peft_model(model.vlm, settings, low_cpu_mem_usage=empty)
    settings.modules_to_save = list(trained) or None
    for path in trained:
        model.vlm.get_submodule(path).requires_grad_(True)


def adapter_settings(model: DepthVLM) -> Any:
    """PEFT's ``LoraConfig`` of the adapters in a model, its ``modules_to_save`` filled in; None: there are none.

    Raises:
        SdvlmError: there are some that were not put in by :func:`add_lora`.
    """
    if not any(".lora_A." in name for name, _ in model.vlm.named_parameters()):
        return None
    if _NAME not in getattr(model.vlm, "peft_config", {}):
        raise SdvlmError("the adapters in the model were put around it with PEFT; save and merge them with PEFT too")
    return model.vlm.peft_config[_NAME]


def check_whole(model: DepthVLM) -> None:
    """Refuse to save a model with adapters in it as a plain one.

    Raises:
        SdvlmError: it has adapters.
    """
    if adapter_settings(model) is not None:
        raise SdvlmError("the model has adapters in it; save it with models.run_folder.save_run, or merge them first")


def adapter_tensors(model: DepthVLM, state: Mapping[str, Tensor] | None = None) -> dict[str, Tensor]:
    """What is trained in ``model.vlm``, by the names PEFT stores it under, on the CPU.

    Args:
        model: with adapters.
        state: ``model.state_dict()``, gathered where it is spread over devices; None: the model's own.

    Raises:
        SdvlmError: the state lacks some of it, or something is trained that has no place among it.
    """
    state = model.state_dict() if state is None else state
    names = _stored_names(model)
    kept = set(names.values())
    lost = [name for name, one in model.vlm.named_parameters() if one.requires_grad and name not in kept]
    if lost:
        raise SdvlmError(
            f"{len(lost)} trained tensors, such as {lost[0]}, are neither adapters nor in a module named to be trained "
            "in full, so they would not be saved; give add_lora the path of their module"
        )
    absent = [name for name in names.values() if f"vlm.{name}" not in state]
    if absent:
        raise SdvlmError(f"the state to save lacks {len(absent)} trained tensors, such as vlm.{absent[0]}")
    return {stored: state[f"vlm.{name}"].detach().to("cpu").contiguous() for stored, name in names.items()}


@torch.no_grad()
def fill_adapter(model: DepthVLM, tensors: Mapping[str, Tensor], where: str) -> None:
    """Put what :func:`adapter_tensors` gave back into a model with the same adapters; values are cast to its dtypes.

    Args:
        model: changed in place; only if all fits.
        tensors: by PEFT's names.
        where: where they come from, for messages.

    Raises:
        SdvlmError: tensors missing, left over or misshapen.
    """
    names = _stored_names(model)
    state = model.vlm.state_dict(keep_vars=True)
    check_fit(where, tensors, {stored: state[name].shape for stored, name in names.items()})
    for stored, name in names.items():
        path, _, leaf = name.rpartition(".")
        if not state[name].is_meta:
            state[name].copy_(tensors[stored])
            continue
        device = model.vlm.get_submodule(path.split(".lora_")[0]).get_base_layer().weight.device
        value = nn.Parameter(tensors[stored].to(device), requires_grad=state[name].requires_grad)
        setattr(model.vlm.get_submodule(path), leaf, value)


@torch.no_grad()
def merge_adapter(model: DepthVLM) -> int:
    """Work the adapters into the weights and take them out: ``W + alpha / r * B A``, in float32 and rounded once.

    Returns:
        how many layers had one.

    Raises:
        SdvlmError: a weight is quantized.
    """
    layers = [(name, module) for name, module in model.vlm.named_modules() if hasattr(module, "get_delta_weight")]
    for name, layer in layers:
        weight = layer.get_base_layer().weight
        if not weight.is_floating_point():
            raise SdvlmError(f"{name} is quantized ({weight.dtype}); load the run without quantization to merge it")
        weight.copy_((weight.float() + layer.get_delta_weight(_NAME).float()).to(weight.dtype))
        parent, _, leaf = name.rpartition(".")
        setattr(model.vlm.get_submodule(parent), leaf, layer.get_base_layer())
    if layers:
        del model.vlm.peft_config
    return len(layers)


def check_fit(where: str, tensors: Mapping[str, Tensor], wanted: Mapping[str, Iterable[int]]) -> None:
    """Refuse tensors other than those wanted, by name and shape."""
    checkpoint.check_complete(
        where,
        {
            "missing_keys": [name for name in wanted if name not in tensors],
            "unexpected_keys": [name for name in tensors if name not in wanted],
            "mismatched_keys": [
                name for name in wanted if name in tensors and tuple(tensors[name].shape) != tuple(wanted[name])
            ],
        },
    )


def _stored_names(model: DepthVLM) -> dict[str, str]:
    """PEFT's name in files: name under ``model.vlm``, of everything trained there."""
    settings = adapter_settings(model)
    if settings is None:
        raise SdvlmError("the model has no adapters")
    inside = tuple(f"{path}." for path in settings.modules_to_save or ())
    names = [name for name in model.vlm.state_dict() if ".lora_" in name or name.startswith(inside)]
    return {_STORED + name.replace(f".{_NAME}.", "."): name for name in names}


def language_model(vlm: Any) -> str:
    """Path of the language model without its head in a vision-language model.

    Raises:
        SdvlmError: it has none of its own.
    """
    decoder = vlm.get_decoder()
    path = next((name for name, module in vlm.named_modules() if module is decoder), "")
    if not path or decoder is vlm.base_model:
        raise SdvlmError(f"{type(vlm).__name__} has no language model apart from its vision; it cannot take adapters")
    return path


def _own_kind(module: nn.Module) -> bool:
    """Whether a linear layer is a family's own kind, which may give more than a product (Llama 4's router: a tuple)."""
    return type(module).__module__.startswith("transformers.models.")


def _pattern(wanted: Sequence[str], names: Sequence[str]) -> str:
    """A regular expression that matches ``wanted`` of ``names`` in full and nothing else of them."""
    layers = re.compile(r"(?<=\\\.)\d+(?=\\\.)")
    short = "|".join(dict.fromkeys(layers.sub(r"\\d+", re.escape(name)) for name in wanted))
    if [name for name in names if re.fullmatch(short, name)] != list(wanted):
        return "|".join(re.escape(name) for name in wanted)
    return short
