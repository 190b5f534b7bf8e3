"""Where the time of a build goes: its own functions, timed while it runs, without changing what it does."""

from __future__ import annotations

import functools
import importlib
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

__all__ = ["STAGES", "Spans", "timed_stages"]

STAGES: dict[str, tuple[str, ...]] = {
    "read": ("sdvlm.bench.build_source:Copies.read", "sdvlm.scenes.scene:SceneFrame.load"),
    "render": (
        "sdvlm.data.view:SceneViewer.__init__",
        "sdvlm.scenes.render:Renderer.trace",
        "sdvlm.scenes.render:Renderer.amodal_counts",
    ),
    "observe": ("sdvlm.data.view:observe",),
    "ask": tuple(f"sdvlm.data.build_scene:{name}" for name in ("select", "name_objects", "ask_all", "explain")),
    "encode": tuple(f"sdvlm.data.build_scene:{name}" for name in ("encode_depth", "_picture")),
    "write": ("sdvlm.data.build:write_part", "sdvlm.data.build:assemble"),
}
"""stage: the functions it consists of, as the modules that call them know them; what is left over is "other" """


class Spans:
    """Adds up processor seconds by stage. A stage that calls another is not charged for it.

    Args:
        clock: seconds; processor time by default, which a busy machine does not stretch.
    """

    def __init__(self, clock: Callable[[], float] = time.process_time) -> None:
        self.seconds: Counter[str] = Counter()
        self._clock = clock
        self._inner = [0.0]

    def wrap(self, stage: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """The same function, timed."""

        @functools.wraps(function)
        def timed(*arguments: Any, **options: Any) -> Any:
            started = self._clock()
            self._inner.append(0.0)
            try:
                return function(*arguments, **options)
            finally:
                taken = self._clock() - started
                self.seconds[stage] += taken - self._inner.pop()  # type: ignore[assignment]
                self._inner[-1] += taken

        return timed


@contextmanager
def timed_stages(stages: Mapping[str, tuple[str, ...]] | None = None) -> Iterator[Spans]:
    """Inside, the functions of the stages are timed.

    Args:
        stages: default :data:`STAGES`.

    Raises:
        AttributeError: a stage names a function that is no longer there.
    """
    spans, before = Spans(), []
    try:
        for stage, paths in (STAGES if stages is None else stages).items():
            for path in paths:
                module, _, dotted = path.partition(":")
                *owners, name = dotted.split(".")
                owner = functools.reduce(getattr, owners, importlib.import_module(module))
                function = getattr(owner, name)
                before.append((owner, name, function))
                setattr(owner, name, spans.wrap(stage, function))
        yield spans
    finally:
        for owner, name, function in reversed(before):
            setattr(owner, name, function)
