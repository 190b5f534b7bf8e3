"""What the embedded model costs: loading, a first answer, many answers, memory; each time a process of its own.

Beside each time stands what the same process waited for its libraries (torch, transformers), which is not nano's doing.
"""

from __future__ import annotations

import itertools
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from PIL import Image

from sdvlm.machine import peak_memory_mb
from sdvlm.nano import NANO_FOLDER
from sdvlm.types import SdvlmError

__all__ = ["bench_nano"]

_FIGURES = ("libraries_s", "load_s", "first_answer_s", "answers_s", "peak_memory_mb")


def bench_nano(repeats: int = 5, questions: int = 28) -> dict[str, Any]:
    """Load the model and ask it about a drawn room, in fresh processes one after another.

    Args:
        repeats: processes.
        questions: about the picture in one call, after the first one.

    Returns:
        Medians: ``libraries_s`` (import of torch and transformers), ``load_s`` (``load_model``), ``first_answer_s``
        (reading the picture's file included), ``answers_s`` (``questions`` of them, the picture read again),
        ``peak_memory_mb`` (resident); their ranges under ``spread``; ``weights_mb`` on disk.
    """
    if repeats < 1:
        raise SdvlmError(f"a bench needs at least one repeat; got {repeats}")
    from sdvlm.demo.room import make_demo_view
    from sdvlm.depth.io import write_depth

    view = make_demo_view()
    frame, asked = view.frame, [one.question for one in view.questions]
    assert frame.depth is not None
    assert frame.camera is not None
    with tempfile.TemporaryDirectory() as folder:
        picture, depth = Path(folder) / "picture.png", Path(folder) / "depth.png"
        Image.fromarray(frame.image).save(picture)
        write_depth(depth, frame.depth)
        camera = ",".join(str(one) for one in (frame.camera.fx, frame.camera.fy, frame.camera.cx, frame.camera.cy))
        asked = [asked[index % len(asked)] for index in range(questions)]
        job = json.dumps({"picture": str(picture), "depth": str(depth), "camera": camera, "questions": asked})
        runs = [_in_a_process(job) for _ in range(repeats)]
    spread = {name: sorted(run[name] for run in runs) for name in _FIGURES}
    weights = sum(file.stat().st_size for file in NANO_FOLDER.glob("*.safetensors"))
    return {
        **{name: round(statistics.median(values), 3) for name, values in spread.items()},
        "weights_mb": round(weights / 1e6, 2),
        "questions": questions,
        "spread": {
            name: {"min": round(v[0], 3), "max": round(v[-1], 3), "repeats": repeats} for name, v in spread.items()
        },
    }


def _in_a_process(job: str) -> dict[str, float]:
    done = subprocess.run([sys.executable, "-m", __name__, job], capture_output=True, text=True)
    if done.returncode:
        raise SdvlmError(f"nano did not answer in a fresh process: {done.stderr.strip().splitlines()[-1:]}")
    return dict(json.loads(done.stdout.strip().splitlines()[-1]))


def measure(job: dict[str, Any]) -> dict[str, float]:
    """The figures of this process; it must be a fresh one."""
    times = [time.perf_counter()]
    import torch  # noqa: F401
    import transformers  # noqa: F401

    import sdvlm
    import sdvlm.models.load
    import sdvlm.models.prefix

    times.append(time.perf_counter())
    model, processor = sdvlm.load_model("nano")
    times.append(time.perf_counter())
    frame = sdvlm.load_rgbd(job["picture"], job["depth"], camera=job["camera"])
    sdvlm.ask(model, processor, frame, job["questions"][:1])
    times.append(time.perf_counter())
    sdvlm.ask(model, processor, frame, job["questions"])
    times.append(time.perf_counter())
    seconds = [after - before for before, after in itertools.pairwise(times)]
    return dict(zip(_FIGURES, [*seconds, peak_memory_mb()], strict=True))


if __name__ == "__main__":
    sys.stdout.write(json.dumps(measure(json.loads(sys.argv[1]))) + "\n")
