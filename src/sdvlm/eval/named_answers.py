"""Object names in free text: the one a reply names, out of the usual sentences or out of given options."""

from __future__ import annotations

import re
from collections.abc import Sequence

__all__ = ["choose_name", "normalise_name", "stated_name"]

_PATTERNS = tuple(
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        r"^(?:the )?(?:tallest|shortest|nearest|closest|farthest|furthest|highest|taller|shorter|nearer|closer)\b"
        r".*?\bis (?P<name>.+)$",
        r"^(?P<name>.+?) (?:is|are|stands|appears|has|looks|seems)(?: to be)? (?:the |a )?"
        r"(?:tall|short|near|clos|far|furth|high|low|great|large|small|located|at |there)\w*.*$",
        r"^(?:there is|it is|it's|that is|that's|this is|i see|you can find|it would be|i think it is|i think it's) "
        r"(?P<name>.+?)(?: (?:at|in|on) (?:the |that )?(?:position|point|location|coordinates?|\().*)?$",
        r"^(?:the |this |that |these |those )?(?:object|thing|item|position|point|location|coordinate)s?\b.*?"
        r"\b(?:is|are|(?:belongs?|corresponds?|points?) to|shows?|holds?|contains?) (?P<name>.+)$",
        r"^at .+?\b(?:there is|is|you can find) (?P<name>.+)$",
    )
)
_MOST_WORDS = 5
"""a reply of more words than this that fits no pattern is not a name"""


def normalise_name(name: str) -> str:
    """Lower case, no article, no punctuation, single spaces: "The  wooden table." -> "wooden table"."""
    words = re.sub(r"[^\w\s-]", " ", name.lower()).split()
    while words and words[0] in ("the", "a", "an"):
        words.pop(0)
    return " ".join(words)


def choose_name(text: str, options: Sequence[str]) -> str | None:
    """The one option that a reply names; of several named in a comparison ("than"), the subject; else None."""
    said = normalise_name(text)
    choices = [normalise_name(option) for option in options]
    spots = []
    for option in choices:
        rest = said
        for longer in choices:
            if option != longer and option in longer:
                rest = rest.replace(longer, "#" * len(longer))
        match = re.search(rf"\b{re.escape(option)}\b", rest)
        if match:
            spots.append((match.start(), option))
    if not spots:
        return None
    return min(spots)[1] if len(spots) == 1 or re.search(r"\b(?:than|compared)\b", said) else None


def stated_name(text: str) -> str | None:
    """The name out of the usual sentences ("The tallest is the curtain."), or the whole of a short reply."""
    sentence = re.split(r"[.!](?:\s|$)|\n|\s+than\s+", text.strip())[0].strip()
    sentence = re.sub(r"^(?:well|sure|answer)\s*[:,]\s*", "", sentence, flags=re.IGNORECASE)
    for pattern in _PATTERNS:
        match = pattern.match(sentence)
        if match:
            return normalise_name(match["name"]) or None
    name = normalise_name(sentence)
    return name if 0 < len(name.split()) <= _MOST_WORDS else None
