"""The manifest: what it reads back is what was written; counts of parts add up."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sdvlm.data.manifest import Manifest, Shard, add_counts, read_manifest
from sdvlm.types import SdvlmError

COUNTS = st.fixed_dictionaries(
    {}, optional={"a": st.integers(0, 9), "b": st.dictionaries(st.sampled_from("xyz"), st.integers(0, 9))}
)


@given(st.lists(COUNTS, max_size=5))
def test_every_count_is_the_sum_over_the_parts(parts):
    total = add_counts(parts)
    assert total.get("a", 0) == sum(part.get("a", 0) for part in parts)
    for name in "xyz":
        assert total.get("b", {}).get(name, 0) == sum(part.get("b", {}).get(name, 0) for part in parts)


@pytest.mark.parametrize("parts", [[{"a": 1}, {"a": {"b": 1}}], [{"a": {"b": 1}}, {"a": 1}], [{"a": "many"}]])
def test_counts_that_do_not_fit_together_are_refused(parts):
    with pytest.raises(SdvlmError, match="do not fit together at 'a'"):
        add_counts(parts)


def test_what_is_written_is_read_back(tmp_path):
    shards = (
        Shard("data/train-00000-of-00001.parquet", "train", 3, 99, "ab"),
        Shard("data/t.parquet", "test", 1, 2, "c"),
    )
    manifest = Manifest(
        shards, {"train": "picture"}, {"train": {"rows": 3}}, {"name": "Büro", "x": [1, None]}, {"a": "1"}
    )
    manifest.write(tmp_path)
    assert read_manifest(tmp_path) == manifest
    assert manifest.splits == ("train", "test")
    assert manifest.shards("test") == shards[1:]
    with pytest.raises(SdvlmError, match="it has train, test"):
        manifest.shards("val")


def test_a_folder_that_is_not_there_is_named(tmp_path):
    with pytest.raises(SdvlmError, match="no such folder"):
        read_manifest(tmp_path / "nowhere")
