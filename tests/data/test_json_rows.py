"""A JSON list read in pieces holds what json.loads finds in it, wherever the pieces end."""

import json

import pytest

from sdvlm.data import json_rows
from sdvlm.data.json_rows import iter_json_list
from sdvlm.types import SdvlmError

VALUES = [{"a": [1, 2.5, None], "ü": ']},{[ \\ " é'}, 12345, "text", [], {}, -0.5e3, True, {"b": {"c": "x" * 90}}]


@pytest.mark.parametrize("chunk", [1, 2, 7, 64, 1 << 20])
@pytest.mark.parametrize("indent", [None, 2])
def test_values_are_those_of_the_whole_document(tmp_path, monkeypatch, chunk, indent):
    monkeypatch.setattr(json_rows, "_CHUNK", chunk)
    path = tmp_path / "x.json"
    path.write_text(json.dumps(VALUES, indent=indent, ensure_ascii=False) + "\n", encoding="utf-8")
    assert list(iter_json_list(path)) == VALUES


def test_an_empty_list_holds_nothing(tmp_path):
    (tmp_path / "x.json").write_text(" [ ] ")
    assert list(iter_json_list(tmp_path / "x.json")) == []


@pytest.mark.parametrize("text", ["", "[1, 2", "[1, 2,]", "[1 2]", "[1] 2", '[{"a": ]', '["a', "[1,"])
def test_what_is_no_json_is_refused_after_what_stands_before_the_fault(tmp_path, text):
    (tmp_path / "x.json").write_text(text)
    with pytest.raises(SdvlmError, match=r"x.json: is no JSON"):
        list(iter_json_list(tmp_path / "x.json"))


def test_another_value_than_a_list_is_named(tmp_path):
    (tmp_path / "x.json").write_text('{"a": 1}')
    with pytest.raises(SdvlmError, match="must hold a JSON list of rows; got dict"):
        list(iter_json_list(tmp_path / "x.json"))
