"""``sdvlm doctor``: what is installed, what runs under which licence, and what a depth file holds."""

from __future__ import annotations

import json
import platform
import shutil
from dataclasses import asdict
from importlib import metadata
from pathlib import Path
from typing import Annotated, Any

import typer

from sdvlm.cli.options import model_folder

PACKAGES = (
    *("sdvlm", "torch", "transformers", "tokenizers", "safetensors", "huggingface-hub", "numpy", "pillow"),
    *("trimesh", "embreex", "typer", "rich", "peft", "accelerate", "pyarrow", "openai", "matplotlib"),
)
NANO_LICENCE = "Apache-2.0 (trained on our own procedural rooms)"


def doctor(
    files: Annotated[list[Path] | None, typer.Argument(help="Depth files to look into.")] = None,
    model: Annotated[
        str | None,
        typer.Option(help="What each fusion would cost this model (a folder, a hub id, nano).", show_default=False),
    ] = None,
    image_size: Annotated[str, typer.Option(metavar="WxH", help="With --model: of the picture, pixels.")] = "640x480",
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")] = False,
) -> None:
    """Say what is installed and licensed; of depth files, what they hold; of a model, what each fusion would cost."""
    if model is not None:
        costs = _costs(model, image_size)
        typer.echo(json.dumps(costs, indent=2) if as_json else "\n".join(_cost_lines(costs)))
        return
    if not files:
        document = environment()
        typer.echo(json.dumps(document, indent=2) if as_json else "\n".join(_environment_lines(document)))
        return
    found = [_look_into(path) for path in files]
    errors = [report["error"] for report in found if "error" in report]
    if as_json:
        typer.echo(json.dumps({"files": found}, indent=2))
    else:
        for report in found:
            if "error" not in report:
                typer.echo("\n".join(_file_lines(report)))
    for error in errors:
        typer.echo(f"error: {error}", err=True)
    if errors:
        raise typer.Exit(2)


def _costs(model: str, image_size: str) -> dict[str, Any]:
    """The cost of each fusion on a model, from its config and processor files."""
    from sdvlm.models.cost import QUESTION_TOKENS, fusion_costs
    from sdvlm.models.load import model_facts
    from sdvlm.types import SdvlmError

    width, _, height = image_size.partition("x")
    if not (width.isdigit() and height.isdigit() and int(width) and int(height)):
        raise SdvlmError(f"--image-size wants WIDTHxHEIGHT in pixels, such as 640x480; got '{image_size}'")
    found = model_facts(model_folder(model))
    costs = fusion_costs(found.vlm_config, found.image_processor, (int(width), int(height)))
    return {
        "model": model,
        "family": found.vlm_config.model_type,
        "fusion": None if found.fusion is None else found.fusion.name,
        "image_size": [int(width), int(height)],
        "question_tokens": QUESTION_TOKENS,
        "fusions": [asdict(cost) for cost in costs],
    }


def _cost_lines(found: dict[str, Any]) -> list[str]:
    width, height = found["image_size"]
    rows = found["fusions"]
    lines = [
        f"{found['model']}: {found['family']}, {rows[0]['tokens']} image tokens for a picture of {width}x{height}; "
        f"its fusion: {found['fusion'] or 'none'}",
        f"{'fusion':14} {'depth enters':13} {'tokens':>7} {'parameters':>12} {'of model':>9} {'prefill':>8}",
    ]
    for row in rows:
        if row["note"]:
            lines.append(f"{row['fusion']:14} {row['place']:13} {row['note']}")
            continue
        lines.append(
            f"{row['fusion']:14} {row['place']:13} {'+' + str(row['extra_tokens']):>7} {row['parameters']:>12,} "
            f"{row['share']:>9.2%} {row['prefill']:>7.3f}x"
        )
    lines.append(
        f"prefill: computation of reading the picture and {found['question_tokens']} tokens of question, "
        "relative to no depth; counted, not timed"
    )
    return lines


def environment() -> dict[str, Any]:
    """Versions, devices, extras, licences and the cache, as JSON-able data. torch is imported for the devices only."""
    from sdvlm.depth.cache import default_cache_folder
    from sdvlm.depth.estimator import DEFAULT_ESTIMATOR, ESTIMATORS
    from sdvlm.extras import EXTRAS, install_command, is_installed

    folder = default_cache_folder()
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": {name: _version(name) for name in PACKAGES},
        "devices": _devices(),
        "extras": {
            name: {module: None if is_installed(module) else install_command(module) for module in modules}
            for name, modules in EXTRAS.items()
        },
        "default_estimator": DEFAULT_ESTIMATOR,
        "estimators": {name: asdict(spec) for name, spec in ESTIMATORS.items()},
        "models": {"nano": {"licence": NANO_LICENCE}},
        "cache": {"folder": str(folder), "free_bytes": shutil.disk_usage(existing).free},
    }


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _devices() -> list[str]:
    try:
        import torch
    except ImportError as error:
        return [f"none: torch does not import ({error})"]
    names = [f"cpu ({torch.get_num_threads()} threads)"]
    names += [f"cuda:{i} ({torch.cuda.get_device_name(i)})" for i in range(torch.cuda.device_count())]
    return names + (["mps"] if torch.backends.mps.is_available() else [])


def _look_into(path: Path) -> dict[str, Any]:
    from sdvlm.depth.inspect import inspect_depth
    from sdvlm.types import SdvlmError

    try:
        return asdict(inspect_depth(path))
    except SdvlmError as error:
        return {"path": str(path), "error": str(error)}


def _file_lines(report: dict[str, Any]) -> list[str]:
    lines = [
        f"{report['path']}: {report['format']}, {report['dtype']}, {report['width']}x{report['height']}, "
        f"stored {report['stored_min']:g} to {report['stored_max']:g}, {report['holes']:.1%} holes",
        f"  {report['encoding']} ({report['kind'] or 'not depth as it is'}): {report['reason']}",
    ]
    if report["near_m"] is not None:
        low, median, high = report["near_m"], report["median_m"], report["far_m"]
        lines.append(f"  {low:.2f} to {high:.2f} m, median {median:.2f} m")
    return lines + [f"  -> {suggestion}" for suggestion in report["suggestions"]]


def _environment_lines(found: dict[str, Any]) -> list[str]:
    lines = [f"python {found['python']} on {found['platform']}"]
    lines += [f"  {name:16} {version or 'not installed'}" for name, version in found["packages"].items()]
    lines.append("devices: " + ", ".join(found["devices"]))
    for name, modules in found["extras"].items():
        absent = [f"{module} ({command})" for module, command in modules.items() if command]
        lines.append(f"extra {name}: {'missing ' + ', '.join(absent) if absent else 'complete'}")
    lines.append("licences of weights (code: Apache-2.0):")
    lines.append(f"  {'nano':40} {found['models']['nano']['licence']}")
    for name, spec in found["estimators"].items():
        mark = "" if spec["commercial"] else "  NON-COMMERCIAL"
        default = "  (default)" if name == found["default_estimator"] else ""
        lines.append(f"  {name:40} {spec['licence']:14} {spec['kind']:10} {spec['note']}{mark}{default}")
    cache = found["cache"]
    lines.append(f"depth cache: {cache['folder']}, {cache['free_bytes'] / 2**30:.1f} GiB free")
    return lines
