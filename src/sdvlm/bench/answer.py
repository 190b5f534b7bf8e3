"""Many questions of one picture: through a shared prefix, one by one, and as the released SD-VLM answers them."""

from __future__ import annotations

from typing import Any

import numpy as np

from sdvlm.bench.random_llava import bench_frame, bench_questions, random_llava
from sdvlm.bench.released_loop import bench_released
from sdvlm.bench.timing import alternate, ratio
from sdvlm.models.prefix import answer_questions

__all__ = ["bench_answer"]


def bench_answer(
    questions: int = 16,
    hidden: int = 1024,
    layers: int = 4,
    new_tokens: int = 8,
    repeats: int = 3,
    shape: str = "small",
    device: str | None = None,
) -> dict[str, Any]:
    """Answer the same questions both ways in turns, on one LLaVA with 576 image tokens; then as the released code does.

    Args:
        questions: about the one picture.
        hidden: width of the language model.
        layers: of the language model.
        new_tokens: length of every answer (the random model never ends one), that of "1.84 m away".
        repeats: timed turns.
        shape: of the released model, see ``released_loop.bench_released``; ``none`` leaves that part out.
        device: where the released model runs; default: the CPU.

    Returns:
        ``speedup`` is the median over the turns of time one by one over time shared; ``same_answers`` says whether
        every token was the same both ways. ``released`` is what ``bench_released`` gives.
    """
    model, processor = random_llava(hidden, layers)
    frame, asked = bench_frame(np.random.default_rng(0)), bench_questions(questions)
    model.generation_config.eos_token_id = len(processor.tokenizer) + 1  # never said: all answers are of one length

    def answer(share: bool) -> Any:
        said = answer_questions(model, processor, frame, asked, max_new_tokens=new_tokens, share_prefix=share)
        return [one.token_ids for one in said]

    same = answer(True) == answer(False)  # also the warm-up
    times = alternate({"shared": lambda: answer(True), "one_by_one": lambda: answer(False)}, repeats, warmup=0)
    speedup = ratio(times["one_by_one"], times["shared"])
    return {
        "speedup": speedup["median"],
        "speedup_range": [speedup["min"], speedup["max"]],
        "same_answers": same,
        "questions": questions,
        "new_tokens": new_tokens,
        "times": {name: timing.to_dict() for name, timing in times.items()},
        "model": {"hidden_size": hidden, "layers": layers, "image_tokens": 576},
        **({} if shape == "none" else {"released": bench_released(shape, repeats=repeats, device=device)}),
    }
