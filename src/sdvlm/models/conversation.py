"""Messages to prompt text, and where in that text the assistant's answers lie.

Messages are Hugging Face chat format: ``{"role", "content"}``, content a string or a list of parts
``{"type": "image"}`` (optionally with the picture under ``"image"``), ``{"type": "video"}`` (optionally with its frames
under ``"video"``) and ``{"type": "text", "text": ...}``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sdvlm.types import SdvlmError

__all__ = ["Prompt", "Tokens", "as_batch", "parts", "pictures_in", "prompt_of", "training_prompt", "videos_in"]

Message = dict[str, Any]
Conversation = list[Message]


@dataclass(frozen=True)
class Prompt:
    """Text with one mark per picture and video, and the character spans (start, end) that a model is trained to say."""

    text: str
    answers: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True)
class Tokens:
    """A prompt as the model reads it.

    Args:
        ids: image tokens included.
        learned: of each token, whether a model is trained to say it; empty where nobody asked.
    """

    ids: tuple[int, ...]
    learned: tuple[bool, ...] = ()


def as_batch(messages: Any) -> list[Conversation]:
    """One conversation or several, as several."""
    if not messages:
        raise SdvlmError("got no messages; give one conversation or a list of conversations")
    if isinstance(messages[0], dict):
        return [messages]
    return list(messages)


def parts(message: Message) -> list[dict[str, Any]]:
    """The content of a message as parts."""
    content = message.get("content")
    if isinstance(content, str):
        return [{"type": "text", "text": content}]
    if not isinstance(content, list):
        raise SdvlmError(f"a message needs content, a string or a list of parts; got {type(content).__name__}")
    for part in content:
        if part.get("type") not in ("image", "video", "text") or (part["type"] == "text" and "text" not in part):
            known = "{type: image}, {type: video} or {type: text, text: ...}"
            raise SdvlmError(f"content parts are {known}; got {sorted(part)}")
    return content


def pictures_in(conversation: Conversation) -> list[Any]:
    """The picture of each image part, in order; None where the part only marks the place."""
    return [part.get("image") for message in conversation for part in parts(message) if part["type"] == "image"]


def videos_in(conversation: Conversation) -> list[Any]:
    """The frames of each video part, in order; None where the part only marks the place."""
    return [part.get("video") for message in conversation for part in parts(message) if part["type"] == "video"]


def prompt_of(processor: Any, conversation: Conversation, ask: bool) -> str:
    """The text the model reads, by the processor's chat template, else the parts one after another.

    Args:
        processor: a Hugging Face processor.
        conversation: messages.
        ask: end where the assistant is to speak.

    Raises:
        SdvlmError: the text holds marks of its own, so that pictures or videos and marks would not pair up.
    """
    plain = [
        {
            "role": message["role"],
            "content": [{k: p[k] for k in ("type", "text") if k in p} for p in parts(message)],
        }
        for message in conversation
    ]
    marks = {"image": processor.image_token, "video": getattr(processor, "video_token", None)}
    if getattr(processor, "chat_template", None) or getattr(processor.tokenizer, "chat_template", None):
        text = str(processor.apply_chat_template(plain, add_generation_prompt=ask, tokenize=False))
    else:
        pieces = [str(marks.get(p["type"]) or p.get("text", "")) for m in plain for p in m["content"]]
        text = "\n".join(pieces) + ("\n" if ask else "")
    for what, wanted in (("image", pictures_in(conversation)), ("video", videos_in(conversation))):
        found, mark = (text.count(marks[what]) if marks[what] else 0), marks[what]
        if found != len(wanted):
            raise SdvlmError(f"the prompt has {found} {what} marks '{mark}' for {len(wanted)} {what} parts")
    return text


def training_prompt(processor: Any, conversation: Conversation) -> Prompt:
    """The whole conversation and its answers: what follows each generation prompt, to the end token included.

    A template that ends answers without the tokenizer's end token (LLaVA-1.5's does) would teach the model never to
    stop: there the end token takes the place of the white space behind the answer, as LLaVA was trained.

    Raises:
        SdvlmError: there is no answer, or the template writes the past differently once the conversation goes on.
    """
    eos = processor.tokenizer.eos_token or ""
    text, spans, seen = "", [], ""
    for index, message in enumerate(conversation):
        if message["role"] != "assistant":
            continue
        asked = prompt_of(processor, conversation[:index], ask=True)
        said = prompt_of(processor, conversation[: index + 1], ask=False)
        if not said.startswith(asked) or not asked.startswith(seen):
            raise SdvlmError(f"the chat template does not round-trip at message {index}: it rewrites what came before")
        text += asked[len(seen) :]
        answer = said[len(asked) :]
        ended = bool(eos) and eos in answer
        spoken = answer[: answer.rindex(eos) + len(eos)] if ended else answer.rstrip() + eos
        spans.append((len(text), len(text) + len(spoken)))
        text += answer if ended else spoken
        seen = said
    if not spans:
        raise SdvlmError("there is nothing to learn from: the conversation has no assistant message")
    rest = prompt_of(processor, conversation, ask=False)
    if not rest.startswith(seen):
        raise SdvlmError("the chat template does not round-trip: it rewrites what came before")
    return Prompt(text + rest[len(seen) :], tuple(spans))
