"""``sdvlm depth``: depth maps for pictures."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer


def depth(
    images: Annotated[list[Path], typer.Argument(help="Pictures.", show_default=False)],
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder for the maps.", show_default=False)],
    estimator: Annotated[
        str | None,
        typer.Option(help="Short name (see `sdvlm doctor`), hub id, folder or module:attribute.", show_default=False),
    ] = None,
    revision: Annotated[str | None, typer.Option(help="Hub revision of the estimator.")] = None,
    device: Annotated[str | None, typer.Option(help="torch device; default cuda if there is one.")] = None,
    dtype: Annotated[str, typer.Option(help="torch dtype of the weights.")] = "float32",
    kind: Annotated[str | None, typer.Option(help="metric or disparity, where the checkpoint cannot tell.")] = None,
    camera: Annotated[str | None, typer.Option(help="fx,fy,cx,cy or a file; one for all pictures.")] = None,
    batch_size: Annotated[int, typer.Option(min=1, help="Pictures a forward pass.")] = 8,
    preview: Annotated[bool, typer.Option(help="Also draw each map with a scale: <stem>_preview.png.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")] = False,
) -> None:
    """Estimate depth: uint16 millimetre PNG for metric maps, .npz that says its kind for the others. Cached."""
    from sdvlm.depth.batch import estimate_files
    from sdvlm.depth.estimator import DEFAULT_ESTIMATOR, load_estimator

    loaded = load_estimator(
        estimator or DEFAULT_ESTIMATOR,
        device=device,
        dtype=dtype,
        revision=revision,
        kind=kind,
        batch_size=batch_size,
    )
    records = []
    for record in estimate_files(images, out, loaded, camera=camera, batch_size=batch_size):
        records.append(record)
        if preview:
            _draw(Path(record.depth))
        if not as_json:
            unit = " m" if record.kind == "metric" else ""
            typer.echo(
                f"{record.depth}: {record.kind}, {record.near:.2f} to {record.far:.2f}{unit}, "
                f"median {record.median:.2f}{unit}, {record.valid:.0%} known"
            )
    if as_json:
        typer.echo(json.dumps({"depth": [asdict(record) for record in records]}, indent=2))
    else:
        typer.echo(f"{len(records)} maps by {loaded.id} (licence of its weights: {loaded.licence})", err=True)


def _draw(path: Path) -> None:
    """The map at ``path`` in colours, beside it."""
    from PIL import Image

    from sdvlm.depth.atomic import atomic_file
    from sdvlm.depth.io import read_depth
    from sdvlm.viz import depth_figure

    with atomic_file(path.with_name(f"{path.stem}_preview.png")) as stream:
        Image.fromarray(depth_figure(read_depth(path))).save(stream, format="PNG")
