"""A judge on this machine that speaks the OpenAI chat completions protocol, over real HTTP."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from tests.torchvision_half import admit

admit()

Answer = tuple[int, str, dict[str, str]]
"""HTTP status, text (the judge's, or the error's message), headers"""


class JudgeServer:
    """Records what it is asked; ``reply`` says what it answers to a prompt, given how many it was asked so far."""

    def __init__(self, reply: Callable[[str, int], str | Answer], delay_s: float = 0.0) -> None:
        self.reply, self.delay_s = reply, delay_s
        self.requests: list[dict] = []
        self.keys: list[str | None] = []
        self.most_at_once = 0
        self._open = 0
        self._lock = threading.Lock()
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.url = f"http://127.0.0.1:{self._http.server_port}/v1"
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()

    @property
    def prompts(self) -> list[str]:
        return [request["messages"][0]["content"] for request in self.requests]

    def close(self) -> None:
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()

    def answer(self, path: str, key: str | None, body: dict) -> Answer:
        if path != "/v1/chat/completions":
            return 404, "no such path", {}
        with self._lock:
            self.requests.append(body)
            self.keys.append(key)
            self._open += 1
            self.most_at_once = max(self.most_at_once, self._open)
            number = len(self.requests)
        time.sleep(self.delay_s)
        told = self.reply(body["messages"][0]["content"], number)
        with self._lock:
            self._open -= 1
        return told if isinstance(told, tuple) else (200, told, {})

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                status, text, headers = server.answer(self.path, self.headers.get("Authorization"), body)
                choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": text}}
                done = {"id": "1", "object": "chat.completion", "created": 1, "model": body["model"]}
                told = {**done, "choices": [choice]} if status == 200 else {"error": {"message": text}}
                data = json.dumps(told).encode()
                self.send_response(status)
                for name, value in {"Content-Type": "application/json", **headers}.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *arguments: object) -> None:
                pass

        return Handler


@pytest.fixture
def judge_server():
    """Start judges; they end with the test."""
    servers: list[JudgeServer] = []

    def start(reply: Callable[[str, int], str | Answer], delay_s: float = 0.0) -> JudgeServer:
        servers.append(JudgeServer(reply, delay_s))
        return servers[-1]

    yield start
    for server in servers:
        server.close()


def build_record(scene: str = "scene_a", frame: int = 0, *, questions: int = 8, size=(64, 48), depth=True, pose=True):
    """A frame record with a random picture, three boxes and questions of all families in turn; seeded by its names."""
    import zlib

    import numpy as np

    from sdvlm.data.encode import encode_depth, encode_picture
    from sdvlm.data.record import FrameRecord, ObjectRecord
    from sdvlm.data.schema import AnswerKind, QuestionSample, QuestionType, TypedAnswer
    from sdvlm.types import Box3D, Camera, DepthMap

    rng = np.random.default_rng([zlib.crc32(scene.encode()), frame])
    width, height = size
    camera = Camera(width, height, 0.9 * width, 0.9 * width, width / 2, height / 2)
    objects = []
    for number, category in enumerate(["chair", "table", "lamp"], start=1):
        upright = np.array([[1, 0, 0], [0, 0, -1], [0, 1, 0]]) @ Box3D.from_yaw([0, 0, 0], [1, 1, 1], number).rotation
        x0, y0 = 5.0 * number, 3.0 * number
        objects.append(
            ObjectRecord(
                id=10 * number,
                category=category,
                name=None if number == 3 else f"the red {category}",
                center_cam=(float(number - 2), rng.uniform(-0.5, 0.5), rng.uniform(2, 4)),
                size_lwh=tuple(rng.uniform(0.3, 1.2, 3).tolist()),
                rotation_cam=tuple(tuple(line) for line in upright.tolist()),
                bounds_px=(x0, y0, x0 + 9, y0 + 7),
                pixel_count=40 + number,
                visibility=0.75,
                truncation=0.125,
                centroid_px=None if number == 2 else (x0 + 4.5, y0 + 3.5),
                dropped="small" if number == 3 else None,
            )
        )
    length = round(float(rng.uniform(0.3, 3)), 2)
    typed = {
        QuestionType.SCALE_ESTIMATION: TypedAnswer(AnswerKind.LENGTHS, (length, 0.5, 1.25), "m", "size"),
        QuestionType.ABSOLUTE_DISTANCE: TypedAnswer(AnswerKind.LENGTH, (length,), "m", "centre_to_centre"),
        QuestionType.COUNT: TypedAnswer(AnswerKind.COUNT, (2.0,), None, "visible_instances"),
        QuestionType.POSITION: TypedAnswer(AnswerKind.POINT, (0.25, 0.75), None, "mask_centroid"),
        QuestionType.REFER_OBJ_ESTIMATION: TypedAnswer(AnswerKind.LENGTH, (length,), "m", "height"),
        QuestionType.RELATIVE_POSITION: TypedAnswer(AnswerKind.DIRECTION, ("left",), None, "side"),
        QuestionType.SCALE_COMPARE: TypedAnswer(AnswerKind.NAME, ("the red table",), None, "tallest"),
        QuestionType.ZERO: TypedAnswer(AnswerKind.YES_NO, ("no",), None, "visible"),
    }
    samples = []
    for number in range(questions):
        kind = list(QuestionType)[number % 8]
        feet = kind is QuestionType.ABSOLUTE_DISTANCE
        samples.append(
            QuestionSample(
                question=f"{scene} {frame}: question {number}?",
                answer=f"Ünswer {number}: {typed[kind].values}",
                type=kind,
                answer_typed=typed[kind],
                objects=() if kind is QuestionType.ZERO else (10, 20),
                names=("sofa",) if kind is QuestionType.ZERO else ("the red chair", "the red table"),
                template=f"{kind}/topic/{number}",
                point=(0.5, 0.25) if kind is QuestionType.POSITION else None,
                said_unit="ft" if feet else "m",
                reasoning="It is far, so look twice." if feet else None,
            )
        )
    T = np.eye(4)
    T[:3, :3], T[:3, 3] = [[1, 0, 0], [0, 0, 1], [0, -1, 0]], [0.5, -1, 1.5]
    metres = np.where(rng.random((height, width)) < 0.1, np.nan, rng.uniform(1, 5, (height, width)))
    return FrameRecord(
        scene_id=scene,
        frame_id=str(frame),
        image_id=f"{scene}/{frame}",
        picture=encode_picture(rng.integers(0, 256, (height, width, 3)).astype(np.uint8)),
        size=size,
        depth_png=encode_depth(DepthMap(metres)) if depth else None,
        camera=camera,
        T_world_cam=T if pose else None,
        objects=tuple(objects),
        samples=tuple(samples),
        source="test",
        box_source="annotated",
        depth_source="made up",
    )


@pytest.fixture(scope="session")
def make_record():
    """``build_record(scene, frame, ...)``."""
    return build_record
