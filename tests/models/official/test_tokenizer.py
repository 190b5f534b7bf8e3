"""The picture's token: inside the vocabulary, and out of reach of every text."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sdvlm.models.llama_tokens import slow_llama_ids
from sdvlm.models.official import import_official, load_official, official_processor
from sdvlm.models.official.layout import open_official
from sdvlm.models.official.sentencepiece import fast_tokenizer_json
from sdvlm.models.official.tokenizer import image_token_id, official_tokenizer
from sdvlm.models.processor import DepthProcessor
from sdvlm.types import SdvlmError

from .conftest import TOKENIZER_CONFIG, Make, pieces, whole_state

FULL = len(pieces())
"""pieces of the tokenizer; a vocabulary of this size has no row to spare"""


def cut_state(rows: int) -> dict[str, torch.Tensor]:
    state = whole_state()
    for name in ("model.embed_tokens.weight", "lm_head.weight"):
        state[name] = state[name][:rows].clone()
    return state


def full(make: Make, **more: Any) -> Path:
    """A checkpoint whose vocabulary is full, as released ones are."""
    return make(state=cut_state(FULL), vocab_size=FULL, **more)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(text=st.text(max_size=20))
def test_no_text_but_the_mark_makes_the_picture_token(tokenizers: Any, text: str) -> None:
    for tokenizer, index in tokenizers:
        if "<image>" not in text:
            assert index not in tokenizer(text)["input_ids"]
        assert tokenizer(f"{text}<image>")["input_ids"].count(index) == text.count("<image>") + 1


@pytest.fixture(scope="module")
def tokenizers(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[Any, int]]:
    """With a row to spare, and without."""
    from .conftest import CLIP_CONFIG, CONFIG, sentencepiece_model, write_files, write_weights

    out = []
    for rows in (300, FULL):
        folder = tmp_path_factory.mktemp("tokenizers")
        files = {"tokenizer.model": sentencepiece_model(), "tokenizer_config.json": TOKENIZER_CONFIG}
        write_files(folder, {"config.json": CONFIG | {"vocab_size": rows}} | files)
        write_files(folder.parent, {"clip.json": CLIP_CONFIG})
        write_weights(folder, {"model.norm.weight": torch.zeros(3)})
        official = open_official(folder)
        out.append((official_tokenizer(official), image_token_id(official)))
    return out


def test_a_full_vocabulary_gives_up_a_byte_that_utf8_lacks(make: Make) -> None:
    folder = full(make)
    processor, model = official_processor(folder), load_official(folder)
    assert processor.processor.image_token_id == model.config.vlm_config.image_token_index == 3 + 0xFF
    assert processor.tokenizer.convert_tokens_to_ids("<image>") == 3 + 0xFF
    assert model.vlm.lm_head.weight.shape[0] == FULL  # no row more, so no logit more


def test_a_row_to_spare_is_taken_first_and_a_token_of_that_name_before_all(make: Make) -> None:
    assert official_processor(make("spare")).processor.image_token_id == FULL
    values = fast_tokenizer_json(make("old") / "tokenizer.model")
    values["added_tokens"] += [
        {"id": FULL + i, "content": text} for i, text in enumerate(("<pad>", "<image>", "<end>"))
    ]
    processor = official_processor(make("named", files={"tokenizer.json": values}))
    assert processor.processor.image_token_id == FULL + 1
    assert processor.tokenizer.convert_tokens_to_ids(["<pad>", "<end>"]) == [FULL, FULL + 2]
    values["added_tokens"][-1]["id"] = FULL + 5
    with pytest.raises(SdvlmError, match=r"tokenizer\.json gives ids to <end> that leave holes"):
        official_processor(make("holes", files={"tokenizer.json": values}))


def test_ids_are_the_same_from_either_file_and_after_saving(make: Make, tmp_path: Path) -> None:
    folder = full(make)
    first = official_processor(folder)
    (folder / "tokenizer.json").write_text(json.dumps(fast_tokenizer_json(folder / "tokenizer.model")))
    second = official_processor(folder)
    first.save_pretrained(tmp_path / "saved")
    saved = DepthProcessor.from_pretrained(tmp_path / "saved")
    for text in ("a low tree", "<image>\n tree é", "  two  spaces ", "</s>low<unk>"):
        ids = first.tokenizer(text)["input_ids"]
        assert second.tokenizer(text)["input_ids"] == ids
        assert saved.tokenizer(text)["input_ids"] == ids
    assert saved.processor.image_token_id == first.processor.image_token_id


def test_settings_come_from_the_config_and_from_what_unset_ones_mean(make: Make, tmp_path: Path) -> None:
    tokenizer = official_processor(make("said")).tokenizer
    assert (tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id) == (1, 2, 0)
    assert (tokenizer.legacy, tokenizer.model_max_length, tokenizer.padding_side) == (False, 512, "right")
    unset = {"tokenizer_class": "LlamaTokenizer"}
    older = official_processor(make("unset", files={"tokenizer_config.json": unset})).tokenizer
    assert (older.bos_token_id, older.pad_token_id) == (1, 0)
    assert older.legacy  # what transformers 4.37 takes an unset one for
    import_official(tmp_path / "unset", tmp_path / "own")
    assert DepthProcessor.from_pretrained(tmp_path / "own").tokenizer.legacy


def test_a_checkpoint_whose_tokenizer_cannot_be_had_is_refused(make: Make) -> None:
    with pytest.raises(SdvlmError, match=r"no tokenizer\.json and no tokenizer\.model in "):
        load_official(_without_tokenizer(make("none")))
    other = {"model": {"type": "BPE", "vocab": {"a": 0}, "merges": []}, "added_tokens": []}
    with pytest.raises(SdvlmError, match="is no BPE tokenizer with byte pieces"):
        load_official(make("other", files={"tokenizer.json": other}))
    large = make("large", state=cut_state(280), vocab_size=280)
    assert load_official(large).config.vlm_config.image_token_index == 258


def _without_tokenizer(folder: Path) -> Path:
    (folder / "tokenizer.model").unlink()
    return folder


def test_a_padding_token_that_is_no_piece_is_not_added(make: Make) -> None:
    files = {"tokenizer_config.json": TOKENIZER_CONFIG | {"pad_token": "[PAD]"}}
    official = open_official(make(files=files))
    tokenizer = official_tokenizer(official)
    assert (tokenizer.pad_token, len(tokenizer)) == ("<unk>", FULL + 1)
    assert tokenizer.convert_ids_to_tokens(image_token_id(official)) == "<image>"


def test_tokens_added_beside_a_sentencepiece_model_are_whole(make: Make) -> None:
    added = {"added_tokens_decoder": {str(FULL): {"content": "<tree>", "special": False, "normalized": False}}}
    files = {
        "tokenizer_config.json": TOKENIZER_CONFIG | added,
        "added_tokens.json": {"<tree>": FULL, "<low>": FULL + 1},
    }
    official = open_official(make(files=files))
    tokenizer = official_tokenizer(official)
    assert slow_llama_ids(tokenizer, "low<tree>tree<low>").count(FULL) == 1
    assert slow_llama_ids(tokenizer, "low<tree>tree<low>")[-1] == FULL + 1
    assert image_token_id(official) == FULL + 2


def test_a_tokenizer_s_own_limit_does_not_cut_what_the_model_takes(make: Make) -> None:
    files = {"tokenizer_config.json": TOKENIZER_CONFIG | {"model_max_length": 64}}
    folder = make(files=files, tokenizer_model_max_length=...)
    assert official_tokenizer(open_official(folder)).model_max_length == 512
