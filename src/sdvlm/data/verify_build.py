"""Check built data as it lies on disk: every file as written, every answer as the row's own boxes and camera say."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from sdvlm.data.built import iter_records
from sdvlm.data.manifest import check_shards, read_manifest
from sdvlm.data.verify_record import find_record_faults

__all__ = ["Verification", "verify_build"]

_SHOWN = 100


@dataclass(frozen=True)
class Verification:
    """The outcome.

    Args:
        pictures: pictures looked at.
        questions: answers worked out again.
        faults: what is wrong, one line each, the first hundred.
    """

    pictures: int
    questions: int
    faults: tuple[str, ...]


def verify_build(out: Path) -> Verification:
    """Work out every answer again from the rows alone (:func:`sdvlm.data.verify_record.find_record_faults`).

    Raises:
        SdvlmError: the folder holds no finished data, or a row that cannot be read.
    """
    manifest = read_manifest(out)
    faults = check_shards(out, manifest)
    pictures = questions = 0
    for split in manifest.splits:
        for record in iter_records(out, split):
            pictures += 1
            questions += len(record.samples)
            room = max(0, _SHOWN - len(faults))
            faults += [f"{split}, {record.image_id}: {fault}" for fault in islice(find_record_faults(record), room)]
    return Verification(pictures, questions, tuple(faults))
