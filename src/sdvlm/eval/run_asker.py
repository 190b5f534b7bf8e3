"""How a run asks: one picture, its depth, all its questions behind one shared prefix.

Depth has a named source, fixed for the whole run: the model's own network, an estimator (cached on disk), the depth
that came with the picture, or none.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sdvlm.depth.cache import DepthCache, estimate_cached
from sdvlm.depth.estimator import DepthEstimator, load_estimator
from sdvlm.eval.run_facts import weights_digest
from sdvlm.geometry.transform import resize
from sdvlm.types import DepthMap, RgbdFrame

if TYPE_CHECKING:
    from sdvlm.eval.run_source import Row
    from sdvlm.models.prefix import Answer
    from sdvlm.models.processor import DepthProcessor
    from sdvlm.models.wrapper import DepthVLM

__all__ = ["Asker", "DepthSource"]

_MARK = "<image>"


@dataclass(frozen=True)
class DepthSource:
    """Where the depth of a run comes from.

    Args:
        name: ``own`` (the model's network), ``data`` (what came with the picture), ``none``, or an estimator's id.
        estimator: the model's own network, or the estimator that was asked for.
        cache: of its maps; default: the user's.
    """

    name: str
    estimator: DepthEstimator | None = None
    cache: DepthCache | None = None

    @classmethod
    def choose(
        cls, wanted: str, processor: DepthProcessor, in_data: bool = False, device: str | None = None
    ) -> DepthSource:
        """From a word.

        Args:
            wanted: ``none``; ``auto``: the model's own network if it has one, else what comes with the pictures, else
                none, as for a model that takes no depth; or an estimator.
            processor: of the model.
            in_data: whether the pictures come with depth.
            device: for an estimator.

        Raises:
            SdvlmError: there is no such estimator.
        """
        if wanted == "none":
            return cls("none")
        if wanted == "auto":
            if processor.fusion is None:
                return cls("none")
            if processor.estimator is not None:
                return cls("own", processor.estimator)
            return cls("data" if in_data else "none")
        return cls("estimator", load_estimator(wanted, device=device))

    @property
    def facts(self) -> dict[str, Any]:
        """For ``run.json``: an estimator by name and revision, the model's own network by its weights."""
        if self.estimator is None:
            return {"source": self.name}
        if self.name == "own":
            return {"source": self.name, "weights_digest": weights_digest(self.estimator.model)}  # type: ignore[attr-defined]
        revision = str(getattr(self.estimator, "revision", "") or "")
        return {"source": self.name, "estimator": self.estimator.id, "revision": revision}

    def of(self, frame: RgbdFrame, processor: DepthProcessor) -> DepthMap | None:
        """The depth of a picture; None where there is none."""
        if self.name == "none":
            return None
        if self.name == "own":
            return processor.own_depth(frame)
        if self.estimator is not None:
            return estimate_cached(self.estimator, [frame.image], [frame.camera], self.cache)[0].depth
        return frame.depth


@dataclass(frozen=True)
class Asker:
    """A model with all that decides its answers.

    Args:
        model, processor: from ``answering.load_model``.
        depth: where depth comes from.
        max_new_tokens: longest answer.
        batch_size: questions decoded together.
    """

    model: DepthVLM
    processor: DepthProcessor
    depth: DepthSource = field(default_factory=lambda: DepthSource("none"))
    max_new_tokens: int = 256
    batch_size: int = 64

    def depth_of(self, frame: RgbdFrame) -> DepthMap | None:
        """The depth of a picture, from where this run takes it."""
        return self.depth.of(frame, self.processor)

    def prompt(self, row: Row) -> str:
        """The text the model reads for a row, verbatim, with the image mark still one mark.

        Without a template the published question is the prompt, its image mark where it stands, as the released
        inference script sends it.
        """
        if self.processor.config.conversation == "none" and row.raw_question.count(_MARK) == 1:
            return row.raw_question.replace(_MARK, self.processor.processor.image_token)
        return self.processor.question_prompt(row.question)

    def ask(self, frame: RgbdFrame, depth: DepthMap | None, rows: Sequence[Row]) -> list[tuple[str, Answer]]:
        """Prompt and answer for each row, the picture read once."""
        from sdvlm.models.prefix import answer_prompts

        prompts = [self.prompt(row) for row in rows]
        answers = answer_prompts(
            self.model,
            self.processor,
            prompts,
            [frame.image],
            [depth],
            [frame.camera],
            max_new_tokens=self.max_new_tokens,
            batch_size=self.batch_size,
        )
        return list(zip(prompts, answers, strict=True))

    def fitted(self, depth: DepthMap | None, frame: RgbdFrame) -> DepthMap | None:
        """A map of another picture for this one.

        Stretched by nearest neighbour where the sizes differ, unless the model pools maps of any size.
        """
        fusion = self.processor.config.fusion_settings
        if depth is None or depth.size == frame.size or (fusion is not None and fusion.pooling == "unpadded"):
            return depth
        return resize(depth.size, frame.size).depth(depth)
