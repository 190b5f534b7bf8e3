import numpy as np

from sdvlm.scenes.room_scene import room_scene
from sdvlm.scenes.rooms import Room
from sdvlm.scenes.sensor import SensorConfig
from sdvlm.scenes.viewpoints import sample_cameras


def test_frames_render_on_load_and_are_decided_by_the_seed(rooms: list[Room]) -> None:
    cameras = sample_cameras(rooms[1], np.random.default_rng(0), 2, (64, 48))
    scene, again, other = (
        room_scene(rooms[1], "room", cameras, seed, sensor=SensorConfig(), supersample=1) for seed in (3, 3, 4)
    )
    assert [frame.id for frame in scene.frames] == ["0", "1"]
    assert scene.objects == rooms[1].objects
    for index, frame in enumerate(scene.frames):
        shot = frame.load()
        assert shot.camera == cameras[index][0]
        assert np.array_equal(shot.T_world_cam, cameras[index][1])
        assert np.array_equal(shot.image, again.frames[index].load().image)
        assert np.array_equal(shot.depth.values, again.frames[index].load().depth.values, equal_nan=True)
        assert not np.array_equal(shot.image, other.frames[index].load().image)


def test_clean_frames_carry_depth_everywhere_and_a_sensor_leaves_holes(rooms: list[Room]) -> None:
    cameras = sample_cameras(rooms[2], np.random.default_rng(0), 1, (96, 72))
    clean = room_scene(rooms[2], "room", cameras).frames[0].load().depth
    sensed = room_scene(rooms[2], "room", cameras, sensor=SensorConfig(range_m=(0.1, 20.0))).frames[0].load().depth
    assert clean.valid.all()
    assert 0.3 < sensed.valid.mean() < 1.0
    both = sensed.valid & clean.valid
    error = np.abs(sensed.values - clean.values)[both]
    assert (error < 6 * (0.001 + 0.0015 * clean.values[both] ** 2)).all()
