"""What the pages say about questions and about the nano model."""

from __future__ import annotations

from sdvlm.data.schema import QuestionType
from sdvlm.page import Section
from sdvlm.scenes.rooms import ROOM_KINDS

__all__ = ["ABOUT_NANO", "ASK_YOUR_OWN", "KIND_NAMES", "OF_ANOTHER_SIZE", "ROOM_NAMES"]

KIND_NAMES: dict[QuestionType, str] = {
    QuestionType.SCALE_ESTIMATION: "size of an object",
    QuestionType.ABSOLUTE_DISTANCE: "distance",
    QuestionType.COUNT: "counting",
    QuestionType.POSITION: "place in the picture",
    QuestionType.REFER_OBJ_ESTIMATION: "size, given a reference",
    QuestionType.RELATIVE_POSITION: "relative position",
    QuestionType.SCALE_COMPARE: "comparison",
    QuestionType.ZERO: "existence",
}
"""The eight MSMU families in plain words."""

ROOM_NAMES: dict[str, str] = {
    kind: {"living": "living room", "dining": "dining room", "store": "storeroom"}.get(kind, kind)
    for kind in ROOM_KINDS
}
"""What each kind of procedural room is called."""

OF_ANOTHER_SIZE = (
    "Most of a room's measures can be guessed from its picture, as furniture has usual sizes. A smaller room with "
    "smaller furniture, seen from as much nearer, gives the very same picture: only the depth map tells that every "
    "length is another."
)
"""Why the demo asks again about the same picture."""

ABOUT_NANO = Section(
    "What this model is, and is not",
    (
        "The answers come from nano, the model that ships inside the sdvlm package: a LLaVA-style vision-language "
        "model of a few million parameters that runs on any CPU. Depth enters its image tokens as points in space.",
        "Nano was trained on rooms drawn by a program and on nothing else. It has never seen a photograph: on "
        "photographs its answers may be wrong, and it does not know objects that those rooms do not hold. It shows "
        "how the parts work together; it is not a model to rely on. Its model card, in the package, gives the accuracy "
        "measured on rooms that it was not trained on, with depth, with depth withheld and beside a twin trained "
        "without depth.",
    ),
    warning=True,
)

ASK_YOUR_OWN = Section(
    "Ask your own",
    (
        "Any picture will do. Depth may be a 16-bit PNG in millimetres, a float TIFF or NumPy file in metres, a list "
        "of measured points, an estimator, or absent. Several questions share one look at the picture.",
    ),
    code=(
        'sdvlm ask photo.jpg "How far is the chair from the camera?" "How tall is the table?" \\\n'
        "    --depth depth.png --camera 518.9,519.5,325.6,253.7 --page answers.html"
    ),
)
