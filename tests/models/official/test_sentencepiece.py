"""A ``tokenizer.model`` without the sentencepiece package, against sentencepiece's own rule in a loop."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer

from sdvlm.models.official.sentencepiece import fast_tokenizer_json
from sdvlm.types import SdvlmError

from .conftest import LETTERS, pieces, sentencepiece_model

GOLDEN = Path(__file__).parents[4] / "shared" / "golden" / "sd_vlm_official" / "checkpoint"


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    file = tmp_path_factory.mktemp("sp") / "tokenizer.model"
    file.write_bytes(sentencepiece_model())
    return Tokenizer.from_str(json.dumps(fast_tokenizer_json(file)))


def encoded(text: str) -> list[int]:
    """BPE as sentencepiece does it: the neighbours whose piece scores highest merge, of equals the first."""
    scores = {piece: score for piece, score, kind in pieces() if kind == 1}
    symbols = list("▁" + text.replace(" ", "▁"))
    while True:
        joined = [(scores[a + b], -i) for i, (a, b) in enumerate(pairwise(symbols)) if a + b in scores]
        if not joined:
            break
        at = -max(joined)[1]
        symbols[at : at + 2] = [symbols[at] + symbols[at + 1]]
    ids = {piece: index for index, (piece, _, _) in enumerate(pieces())}
    out: list[int] = []
    for symbol in symbols:
        out += [ids[symbol]] if symbol in ids else [ids[f"<0x{byte:02X}>"] for byte in symbol.encode()]
    return [ids["<s>"], *out]


@given(st.text(alphabet=LETTERS.replace("▁", " ") + "é☃q", min_size=1, max_size=30))
def test_ids_are_those_of_the_highest_scoring_merges(tokenizer: Tokenizer, text: str) -> None:
    assert tokenizer.encode(text).ids == encoded(text)


@given(st.text(alphabet=LETTERS.replace("▁", " ") + "é☃q", min_size=1, max_size=30))
def test_what_is_encoded_decodes_to_itself(tokenizer: Tokenizer, text: str) -> None:
    assert tokenizer.decode(tokenizer.encode(text).ids) == text


@pytest.mark.skipif(not GOLDEN.exists(), reason=f"the recorded checkpoint is not here: {GOLDEN}")
def test_the_released_tokenizer_file_is_reproduced() -> None:
    theirs = json.loads((GOLDEN / "tokenizer.json").read_text())
    theirs["model"]["merges"] = [one.split(" ") for one in theirs["model"]["merges"]]
    ours = fast_tokenizer_json(GOLDEN / "tokenizer.model")
    theirs["model"].pop("ignore_merges", None)
    assert ours == theirs


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is no sentencepiece model or is cut short"),
        (b"not a protocol buffer", "is no sentencepiece model or is cut short"),
        (sentencepiece_model()[:100], "is no sentencepiece model or is cut short"),
        (sentencepiece_model(kind=1), "is no BPE model with byte pieces"),
    ],
)
def test_other_files_are_refused(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "tokenizer.model").write_bytes(content)
    with pytest.raises(SdvlmError, match=message):
        fast_tokenizer_json(tmp_path / "tokenizer.model")
