"""Room for depth in a prompt: a second picture behind a picture, or its depths in words.

Everything here works on prompt text with image marks, so it is the same for messages, raw prompts and every template.
A picture without depth leaves its prompt as it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sdvlm.models.conversation import Prompt
from sdvlm.types import SdvlmError

__all__ = ["ImageMarks"]

_PROBE = "?"


@dataclass(frozen=True)
class ImageMarks:
    """How a model's prompts write pictures.

    Args:
        mark: stands for one picture.
        another: what a template adds, behind the mark, for a further picture; holds one mark.
        tail: what it writes between the mark of the last picture and the text of the same turn.
    """

    mark: str
    another: str
    tail: str

    @classmethod
    def of(cls, prompts: Any, mark: str) -> ImageMarks:
        """Found by wording a turn with one picture and with two.

        Args:
            prompts: ``TemplatePrompts`` or ``ReleasedPrompts``.
            mark: the processor's image token.

        Raises:
            SdvlmError: the template does not write pictures one after another.
        """
        one, two = (
            prompts.asking([{"role": "user", "content": [{"type": "image"}] * n + [{"type": "text", "text": _PROBE}]}])
            for n in (1, 2)
        )
        end, grown = one.index(mark) + len(mark), len(two) - len(one)
        another, place = two[end : end + grown], one.find(_PROBE, end)
        if grown <= 0 or two != one[:end] + another + one[end:] or another.count(mark) != 1 or place < 0:
            raise SdvlmError(
                "this model's chat template does not write two pictures one after another, so a depth picture or depth "
                "in words has no place in its prompts; choose a fusion that adds to the image tokens"
            )
        return cls(mark, another, one[end:place])

    def with_pictures(self, prompt: Prompt, which: Sequence[bool]) -> Prompt:
        """A further picture behind each picture of the prompt for which ``which`` says so."""
        return self._inserted(prompt, [(end, self.another) for end, new in self._ends(prompt, which) if new])

    def with_texts(self, prompt: Prompt, texts: Sequence[str | None]) -> Prompt:
        """Texts at the beginning of the turn each picture belongs to, a line each."""
        found, waiting = [], ""
        ends = self._ends(prompt, texts)
        for index, (end, text) in enumerate(ends):
            waiting += "" if text is None else text + "\n"
            last = index + 1 == len(ends)
            if waiting and (last or prompt.text.startswith(self.tail, end)):
                tailed = prompt.text.startswith(self.tail, end)
                found.append((end + len(self.tail), waiting) if tailed else (end, "\n" + waiting))
                waiting = ""
        return self._inserted(prompt, found)

    def _ends(self, prompt: Prompt, values: Sequence[Any]) -> list[tuple[int, Any]]:
        """Where each mark ends, and the value of its picture."""
        ends, start = [], 0
        for value in values:
            start = prompt.text.index(self.mark, start) + len(self.mark)
            ends.append((start, value))
        return ends

    def _inserted(self, prompt: Prompt, pieces: list[tuple[int, str]]) -> Prompt:
        """The prompt with pieces put in at places, in order; spans of answers move along."""
        text, done = "", 0
        for place, piece in pieces:
            text += prompt.text[done:place] + piece
            done = place
        text += prompt.text[done:]

        def moved(at: int) -> int:
            return at + sum(len(piece) for place, piece in pieces if place <= at)

        return Prompt(text, tuple((moved(start), moved(end)) for start, end in prompt.answers))
