"""A record refuses what would break the rows written from it."""

from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from sdvlm.data.observe import observe
from sdvlm.data.record import ObjectRecord
from sdvlm.types import Camera, SdvlmError


def encoded(mode: str, kind: str = "PNG", size=(64, 48), **options) -> bytes:
    stream = io.BytesIO()
    Image.new(mode, size).save(stream, kind, **options)
    return stream.getvalue()


def turned() -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6
    return encoded("RGB", "JPEG", exif=exif)


BAD = {
    "grey": ({"picture": encoded("L")}, "got L"),
    "transparent": ({"picture": encoded("RGBA")}, "got RGBA"),
    "turned by EXIF": ({"picture": turned()}, "upright"),
    "another format": ({"picture": encoded("RGB", "WEBP")}, "neither JPEG nor PNG"),
    "nothing": ({"picture": b""}, "neither JPEG nor PNG"),
    "picture of another size": ({"picture": encoded("RGB", size=(32, 24))}, "picture is 32x24"),
    "camera of another size": ({"camera": Camera.from_fov(32, 24, 60)}, "camera is 32x24"),
    "pose of another shape": ({"T_world_cam": np.eye(3)}, "pose"),
    "questions about what is not there": ({"objects": ()}, "speak of objects"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_would_break_a_row_is_refused(make_record, name):
    change, said = BAD[name]
    with pytest.raises(SdvlmError, match=said) as told:
        replace(make_record("room", 7), **change)
    assert str(told.value).startswith("scene room, frame 7")


def test_two_objects_of_one_id_are_refused(make_record):
    record = make_record()
    with pytest.raises(SdvlmError, match="share an instance id"):
        replace(record, objects=record.objects + record.objects[:1])


@pytest.mark.parametrize("picture", [encoded("RGB"), encoded("RGB", "JPEG")])
def test_plain_pictures_are_taken(make_record, picture):
    assert replace(make_record(), picture=picture).picture == picture


def test_an_object_is_recorded_as_the_frame_sees_it(make_room):
    room = make_room(4)
    observation = observe(room.objects, room.instances, room.depth_m, room.camera, room.T_world_cam, amodal=room.amodal)
    T_cam_world = np.linalg.inv(room.T_world_cam)
    for seen in observation.objects:
        record = ObjectRecord.of(seen, "a name", "small")
        box = next(thing.box for thing in room.objects if thing.id == record.id)
        corners = box.corners() @ T_cam_world[:3, :3].T + T_cam_world[:3, 3]
        np.testing.assert_allclose(record.box_cam.corners(), corners, atol=1e-9)
        rows, columns = np.nonzero(room.instances == record.id)
        assert record.bounds_px == (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
        assert record.pixel_count == len(rows)
        assert record.centroid_px == pytest.approx((columns.mean() + 0.5, rows.mean() + 0.5))
        assert (record.name, record.dropped) == ("a name", "small")
