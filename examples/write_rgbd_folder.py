"""Write what a robot recorded as an RGB-D folder and make questions of it: python examples/write_rgbd_folder.py

The recording is drawn here; yours comes from a camera. The format is in docs/readers.md.
"""

import json
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

from sdvlm.data.build_config import BuildConfig
from sdvlm.data.build_scene import build_scene
from sdvlm.scenes.reader import open_reader
from sdvlm.scenes.render import Renderer
from sdvlm.scenes.rooms import make_room
from sdvlm.scenes.viewpoints import sample_cameras

folder = tempfile.TemporaryDirectory()  # gone when this script ends; put your own path here
out = Path(folder.name)
frames = out / "kitchen" / "frames"
frames.mkdir(parents=True)

# A robot that drives through a room: colour, depth, a pose for each picture, and masks from a segmenter.
rng = np.random.default_rng(7)
room = make_room(rng)
renderer = Renderer(room.mesh, room.face_materials)
recording = [(camera, pose, renderer.render(camera, pose)) for camera, pose in sample_cameras(room, rng, 3)]

# These lines write the folder.
poses = {}
for number, (camera, T_world_cam, shot) in enumerate(recording):
    Image.fromarray(shot.image).save(frames / f"{number:04d}.jpg", quality=95)
    depth_mm = np.nan_to_num(shot.depth_m * 1000).astype(np.uint16)  # 0: unknown
    Image.fromarray(depth_mm).save(frames / f"{number:04d}.depth.png")
    Image.fromarray(shot.instances.astype(np.uint16)).save(frames / f"{number:04d}.mask.png")
    # one camera a frame here, because each drawn view has its own; a robot's goes to the top of scene.json once
    intrinsics = {"fx": camera.fx, "fy": camera.fy, "cx": camera.cx - 0.5, "cy": camera.cy - 0.5}
    poses[f"{number:04d}"] = {
        "camera": {"width": camera.width, "height": camera.height, **intrinsics},
        "T_world_cam": T_world_cam.tolist(),
    }
labels = {str(thing.id): thing.category for thing in room.objects}
(out / "kitchen" / "scene.json").write_text(json.dumps({"frames": poses, "labels": labels}, indent=1))

# Reading fits a box to each mask; building asks about what can be asked.
scene = open_reader(out).read("kitchen")
print(f"{len(scene.frames)} frames, boxes {scene.box_source}")
for record in build_scene(scene, BuildConfig()).records:
    for sample in record.samples[:3]:
        print(f"{record.image_id}: {sample.question} {sample.answer}")
