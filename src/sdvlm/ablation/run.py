"""The ablation: what is shared, then cell by cell, then the figures."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from sdvlm.ablation.cells import Cell, choose
from sdvlm.ablation.config import AblationConfig
from sdvlm.ablation.cost import cost_group, measure_cost
from sdvlm.ablation.materials import Materials, open_materials, prepare
from sdvlm.ablation.run_cell import CellJob, run_cell, settings_of
from sdvlm.ablation.store import CellStore, read_json, write_json
from sdvlm.ablation.summary import summary
from sdvlm.ablation.table import markdown
from sdvlm.depth.atomic import atomic_file
from sdvlm.engine import EngineConfig, run_jobs
from sdvlm.machine import hardware, now, versions
from sdvlm.types import SdvlmError

__all__ = ["AblationResult", "ablate"]

log = logging.getLogger(__name__)

COST_TURNS = 7
Progress = Callable[[str], None]


@dataclass(frozen=True)
class AblationResult:
    """What an ablation came to.

    Args:
        out: its folder.
        document: as ``ablation.json`` holds it.
        failed: cells and seeds that could not be run, each with one line that says why.
    """

    out: Path
    document: dict[str, Any]
    failed: dict[str, str]


def ablate(
    out: Path,
    config: AblationConfig | None = None,
    *,
    only: Sequence[str] | None = None,
    encoders: Mapping[int, Path] | None = None,
    model: Path | None = None,
    engine: EngineConfig | None = None,
    cost_turns: int = COST_TURNS,
    command: str | None = None,
    progress: Progress | None = None,
) -> AblationResult:
    """Run what is not there yet, and write ``ablation.json`` and the table anew.

    Every cell and seed is one file in ``out/cells``: an interrupted run goes on with the same call.

    Args:
        out: folder; made if needed. One ablation a folder.
        config: equal for all cells; the default is the full run.
        only: names of cells; None: all. The cell without depth is always run.
        encoders: percent of the pairs (10, 100) to the folder of a depth encoder pre-trained on them.
        model: folder of a model of the nano kind to start from; None: the shipped one.
        engine: where cells are run; by default in this process, one after another.
        cost_turns: timed steps of every cell; 0: the cost is not measured.
        command: what was typed, kept beside the figures.
        progress: is told of every stage.

    Raises:
        SdvlmError: no such cell, an encoder that is not there, or a folder that holds another ablation.
    """
    config, encoders = config or AblationConfig(), dict(encoders or {})
    say = progress or (lambda _: None)
    for share, folder in encoders.items():
        if not folder.is_dir():
            raise SdvlmError(f"no encoder folder {folder} for {share} % of the pairs; give what sdvlm pretrain wrote")
    cells = choose(only, encoders)
    prepare(out, config, model, engine, say)
    jobs, results = [], {}
    for seed in range(config.seeds):
        for cell in cells:
            job = CellJob(out, config, model, cell, seed, None if cell.pairs is None else encoders[cell.pairs])
            found = _store(job).read(_key(job))
            if found is None:
                jobs.append((_key(job), job))
            else:
                results[_key(job)] = found
    failed: dict[str, str] = {}
    for result in run_jobs(jobs, run_cell_once, engine):
        if result.value is None:
            failed[result.key] = result.error or "it failed"
            log.warning("%s: %s", result.key, failed[result.key])
        else:
            results[result.key] = result.value
        say(f"{result.key}: {failed.get(result.key, f'{result.seconds:.0f} s')}")
    materials = open_materials(out, config, model)
    cost = _cost(out, config, materials, cells, encoders, cost_turns, say)
    estimator = read_json(out / "estimator.json") or {}
    made = {"command": command, "date": now(), "hardware": hardware(), "versions": versions()}
    document = {**made, **summary(config, cells, results, materials, cost), "estimator": estimator}
    write_json(out / "ablation.json", document)
    with atomic_file(out / "ablation.md") as stream:
        stream.write(markdown(document).encode())
    return AblationResult(out, document, failed)


def run_cell_once(job: CellJob) -> dict[str, Any]:
    """Run a cell and keep its result, unless another process has done so since."""
    store = _store(job)
    found = store.read(_key(job))
    if found is None:
        store.write(_key(job), run_cell(job))
        found = store.read(_key(job))
    assert found is not None
    return found


def _key(job: CellJob) -> str:
    return f"{job.cell.name}-seed-{job.seed}"


def _store(job: CellJob) -> CellStore:
    settings = settings_of(job.cell)
    fusion = None if settings is None else settings.to_dict()
    encoder = None if job.encoder is None else str(job.encoder)
    stamp = job.config.digest(cell=asdict(job.cell), fusion=fusion, encoder=encoder, model=str(job.model))
    return CellStore(job.out, stamp)


def _cost(
    out: Path,
    config: AblationConfig,
    materials: Materials,
    cells: list[Cell],
    encoders: Mapping[int, Path],
    turns: int,
    say: Progress,
) -> dict[str, Any]:
    """Kept as a file of its own; measured again where a cell is missing in it."""
    kept = read_json(out / "cost.json") or {}
    wanted = {cost_group(cell) for cell in cells}
    if turns and not wanted <= kept.keys():
        say(f"measuring the cost of a step, {turns} turns")
        kept = measure_cost(materials, cells, encoders, turns)
        write_json(out / "cost.json", kept)
    return kept
