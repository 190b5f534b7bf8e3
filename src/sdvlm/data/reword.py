"""Descriptive names from a vision model: "brown leather armchair" instead of "armchair".

Each kept object is shown to the model, boxed, alone and in its picture. Its name is used only if it is clean and right
as far as words and colours tell, if it cannot be said of another object of the picture, and if the model, shown the
picture with numbered boxes, finds the object again by it. An object whose name fails keeps its geometric name.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from sdvlm.data.given_names import NameRejectedError, NameRules, clean_name, find_rivals, may_name, sole_names
from sdvlm.data.observe import ObservedObject
from sdvlm.data.reword_prompts import PROMPT_VERSION, ask_back_content, name_content, read_name, read_number
from sdvlm.data.select import Selection
from sdvlm.endpoint.config import EndpointConfig
from sdvlm.endpoint.remembering import Question, RememberingEndpoint, default_reply_log
from sdvlm.endpoint.reply_log import ReplyLog
from sdvlm.types import RgbdFrame, SdvlmError

__all__ = ["RewordConfig", "Reworded", "Reworder"]


@dataclass(frozen=True)
class RewordConfig:
    """How names are asked for and checked."""

    rules: NameRules = field(default_factory=NameRules)
    """what a name may be"""
    margin: float = 0.5
    """of the crop around an object, as a share of its box's larger side"""
    ask_back: bool = True
    """whether the model has to find the object again by its name, among numbered boxes"""
    max_boxes: int = 12
    """numbered boxes in that picture at most; a name with more rivals than fit is rejected"""

    def __post_init__(self) -> None:
        if self.margin < 0 or self.max_boxes < 2:
            raise SdvlmError("rewording needs a margin of at least 0 and at least 2 numbered boxes")


@dataclass(frozen=True)
class Reworded:
    """What came of the objects of one picture.

    Args:
        names: verified names, by instance id.
        rejected: why the others have none, by instance id; the same few words for the same reason.
    """

    names: Mapping[int, str]
    rejected: Mapping[int, str]


class Reworder:
    """Names objects through an endpoint; remembers every reply, so an interrupted build goes on where it stopped.

    Picklable. Each process that holds one asks ``endpoint.workers`` questions at once.

    Args:
        endpoint: the vision model to ask.
        log: file of replies; default ``reword/replies.jsonl`` in the cache folder (``$SDVLM_CACHE``).
        config: how to ask and check.
    """

    def __init__(self, endpoint: EndpointConfig, log: Path | None = None, config: RewordConfig | None = None) -> None:
        self.config = config or RewordConfig()
        self.endpoint = RememberingEndpoint(endpoint, ReplyLog(log or default_reply_log("reword")))

    def names(self, frame: RgbdFrame, selection: Selection) -> dict[int, str]:
        """Verified names of the kept objects, by instance id: the ``given`` of ``name_objects``.

        Raises:
            SdvlmError: the endpoint left questions unanswered, or the picture is not the one observed.
        """
        return dict(self.reword(frame, selection).names)

    def reword(self, frame: RgbdFrame, selection: Selection) -> Reworded:
        """As :meth:`names`, with the reasons of those that have none."""
        if frame.size != selection.observation.size:
            (w, h), (want_w, want_h) = frame.size, selection.observation.size
            raise SdvlmError(
                f"{frame.name}: the picture is {w}x{h} but {want_w}x{want_h} was observed; pass its own frame"
            )
        digest = hashlib.sha256(f"{frame.size}".encode() + frame.image.tobytes()).hexdigest()
        names, rejected = self._propose(frame, digest, selection)
        if self.config.ask_back:
            names, lost = self._ask_back(frame, digest, selection, names)
            rejected |= lost
        return Reworded(names, rejected)

    def _propose(self, frame: RgbdFrame, digest: str, selection: Selection) -> tuple[dict[int, str], dict[int, str]]:
        """Names that words and colours have nothing against."""
        config, objects = self.config, selection.observation.objects
        replies = self.endpoint.replies([self._name_question(frame, digest, seen) for seen in selection.kept])
        proposed: dict[int, str] = {}
        rejected: dict[int, str] = {}
        for seen, reply in zip(selection.kept, replies, strict=True):
            said = None if reply is None else read_name(reply)
            try:
                if said is None:
                    raise NameRejectedError("no name given" if reply is not None else "refused")
                name = clean_name(said, seen, config.rules)
                find_rivals(name, seen, objects)
                if any(may_name(name, one.category) for one in selection.observation.unconfirmed):
                    raise NameRejectedError("fits another")
                proposed[seen.id] = name
            except NameRejectedError as error:
                rejected[seen.id] = str(error)
        categories = {seen.id: seen.category for seen in objects}
        names = {}
        for instance, sole in sole_names(proposed, categories).items():
            if sole is None:
                rejected[instance] = "fits another"
            else:
                names[instance] = sole
        return names, rejected

    def _ask_back(
        self, frame: RgbdFrame, digest: str, selection: Selection, names: Mapping[int, str]
    ) -> tuple[dict[int, str], dict[int, str]]:
        """Names by which the model finds the object again."""
        kept: dict[int, str] = {}
        rejected: dict[int, str] = {}
        asked: list[tuple[int, int]] = []
        questions = []
        for instance, name in names.items():
            numbered = self._numbered(selection, instance, name)
            if numbered is None:
                rejected[instance] = "too many alike"
                continue
            boxes = [(number, seen.bounds_px) for number, seen in numbered.items()]
            request = {"task": "which box", "version": PROMPT_VERSION, "picture": digest, "boxes": boxes, "name": name}
            note = {"task": "which box", "frame": frame.name, "name": name}
            questions.append(
                Question(request, lambda boxes=boxes, name=name: ask_back_content(frame.image, boxes, name), note)  # type: ignore[misc]
            )
            asked.append((instance, next(number for number, seen in numbered.items() if seen.id == instance)))
        for (instance, number), reply in zip(asked, self.endpoint.replies(questions), strict=True):
            if reply is not None and read_number(reply) == number:
                kept[instance] = names[instance]
            else:
                rejected[instance] = "not found again"
        return kept, rejected

    def _name_question(self, frame: RgbdFrame, digest: str, seen: ObservedObject) -> Question:
        rules, margin = self.config.rules, self.config.margin
        request = {
            "task": "name",
            "version": PROMPT_VERSION,
            "picture": digest,
            "box": seen.bounds_px,
            "category": seen.category,
            "asked": [margin, rules.max_words, rules.allow_relative],
        }
        note = {"task": "name", "frame": frame.name, "object": seen.id, "category": seen.category}
        bounds, category = seen.bounds_px, seen.category
        return Question(
            request,
            lambda: name_content(frame.image, bounds, category, margin, rules.max_words, rules.allow_relative),
            note,
        )

    def _numbered(self, selection: Selection, instance: int, name: str) -> dict[int, ObservedObject] | None:
        """The object, everything it could be taken for, and others to fill up, in an order that tells nothing.

        None where its rivals alone are more than the picture may have boxes.
        """
        observation = selection.observation
        seen = observation.object(instance)
        rivals = find_rivals(name, seen, observation.objects)
        if len(rivals) + 1 > self.config.max_boxes:
            return None
        others = (one for one in selection.kept if one.id != instance and one.id not in rivals)
        shown = [seen, *(observation.object(rival) for rival in rivals)]
        shown += itertools.islice(others, self.config.max_boxes - len(shown))
        shown.sort(key=lambda one: hashlib.sha256(f"{name}/{one.id}/{one.bounds_px}".encode()).digest())
        return dict(enumerate(shown, start=1))
