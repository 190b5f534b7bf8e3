"""The performance figures, each measured side by side with its baseline in the same run.

``run_bench("dpe")`` is ``sdvlm bench dpe``: it measures and returns one plain document with the figures and what they
were measured on.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable
from typing import Any

from sdvlm.types import SdvlmError

__all__ = ["BENCHES", "run_bench"]

BENCHES: dict[str, tuple[str, str]] = {
    "answer": ("sdvlm.bench.answer:bench_answer", "many questions of one picture: shared prefix against one by one"),
    "build": ("sdvlm.bench.build:bench_build", "scenes into questions: rates, where time and memory go, more workers"),
    "dpe": ("sdvlm.bench.dpe:bench_dpe", "cost of fusing depth against the prefill of a model"),
    "families": (
        "sdvlm.bench.families:bench_families",
        "what depth costs each family beside the bare model; the probe",
    ),
    "nano": ("sdvlm.bench.nano:bench_nano", "the embedded model in a fresh process: loading, answers, memory"),
    "official": ("sdvlm.bench.official:bench_official", "what the released SD-VLM code does otherwise, as numbers"),
    "pretrain": ("sdvlm.bench.pretrain:bench_pretrain", "pre-training on depth: retrieval, metres, RGB cached or not"),
    "pairs": ("sdvlm.bench.pairs:bench_pairs", "pictures into RGB-D pairs: beside a plain loop, memory, reading back"),
    "render": ("sdvlm.bench.render:bench_render", "frames of procedural rooms per second"),
    "startup": ("sdvlm.bench.startup:bench_startup", "import, --help, first answer"),
    "train": ("sdvlm.bench.train:bench_train", "a training step on packed rows against a row a question"),
    "controls": ("sdvlm.bench.controls:bench_controls", "the harness T0 to T8 on every fusion, or on a model"),
}
"""name: (where its function is, what it measures)"""


def run_bench(name: str, **options: Any) -> dict[str, Any]:
    """Measure.

    Args:
        name: a key of ``BENCHES``.
        options: of its function, by name; None means its default.

    Returns:
        A document of plain values: the figures, and ``bench``, ``command``, ``date``, ``hardware``, ``versions``.

    Raises:
        SdvlmError: no such bench, or one that does not take such an option.
    """
    if name not in BENCHES:
        raise SdvlmError(f"no bench '{name}'; choose one of {', '.join(BENCHES)}")
    from sdvlm.bench.document import document

    module, _, function = BENCHES[name][0].partition(":")
    measure: Callable[..., dict[str, Any]] = getattr(importlib.import_module(module), function)
    given = {key: value for key, value in options.items() if value is not None}
    for option in given:
        if option not in inspect.signature(measure).parameters:
            takes = ", ".join(inspect.signature(measure).parameters)
            raise SdvlmError(f"bench {name} has no option '{option}'; it has {takes}")
    return document(name, given, measure(**given))
