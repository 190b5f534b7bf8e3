"""The client over real HTTP: pictures, patience, secrets."""

from __future__ import annotations

import base64
import io
import socket
import threading

import numpy as np
import pytest
from PIL import Image

from sdvlm.endpoint import EndpointClient, EndpointConfig, EndpointRefusedError, EndpointUnreachableError
from sdvlm.endpoint.ask_each import ask_each
from sdvlm.endpoint.content import picture_part, text_part
from sdvlm.types import SdvlmError

pytest.importorskip("openai", reason="the extra eval is not installed")


def config(url: str, **changes) -> EndpointConfig:
    return EndpointConfig("tiny", url, **({"first_wait_s": 0.001, "tries": 3, "workers": 2} | changes))


def client(url: str, **changes) -> EndpointClient:
    return EndpointClient(config(url, **changes), lambda seconds: False)


def test_a_picture_arrives_as_a_data_url_with_its_pixels(judge_server):
    server = judge_server(lambda content, number: "a red square")
    image = np.zeros((24, 32, 3), np.uint8)
    image[:12] = (250, 10, 10)
    assert client(server.url).ask([text_part("what?"), picture_part(image)]) == "a red square"
    text, picture = server.requests[0]["messages"][0]["content"]
    assert text == {"type": "text", "text": "what?"}
    head, data = picture["image_url"]["url"].split(",")
    assert head == "data:image/jpeg;base64"
    decoded = np.asarray(Image.open(io.BytesIO(base64.b64decode(data))).convert("RGB"))
    assert decoded.shape == image.shape
    assert np.abs(decoded.astype(int) - image).mean() < 3


@pytest.mark.parametrize("status", [429, 500, 503, 408])
def test_what_passes_is_asked_again_and_what_does_not_is_not(status, judge_server):
    server = judge_server(lambda content, number: "done" if number == 3 else (status, "busy", {}))
    assert client(server.url).ask("?") == "done"
    assert len(server.requests) == 3
    server = judge_server(lambda content, number: (400, "content filter", {}))
    with pytest.raises(EndpointRefusedError, match="HTTP 400"):
        client(server.url).ask("?")
    assert len(server.requests) == 1


def test_waits_double_and_give_way_to_retry_after(judge_server):
    waits: list[float] = []
    server = judge_server(lambda content, number: (429, "slow", {"Retry-After": "7"} if number == 2 else {}))
    asker = EndpointClient(config(server.url, first_wait_s=0.5, tries=4), lambda s: waits.append(s) or False)
    with pytest.raises(EndpointUnreachableError, match="no answer in 4 tries"):
        asker.ask("?")
    assert waits == [0.5, 7.0, 2.0]


def test_a_silent_server_is_given_up_in_time():
    with socket.create_server(("127.0.0.1", 0)) as listener:  # accepts, never answers
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/v1"
        with pytest.raises(EndpointUnreachableError, match="timed out"):
            client(url, timeout_s=0.1, tries=2).ask("?")


def test_a_reply_that_is_no_json_is_no_answer():
    """A proxy's half page under the name of JSON."""

    def serve(listener: socket.socket) -> None:
        for _ in range(2):
            connection, _ = listener.accept()
            with connection:
                connection.recv(65536)
                body = b'{"choices": [{"mess'
                connection.sendall(
                    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n"
                    + b"Content-Length: %d\r\n\r\n" % len(body)
                    + body
                )

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=serve, args=(listener,), daemon=True).start()
        with pytest.raises(EndpointUnreachableError, match=r"cannot be read|JSON"):
            client(f"http://127.0.0.1:{listener.getsockname()[1]}/v1", tries=2, timeout_s=5).ask("?")


def test_the_key_is_never_told(judge_server):
    secret = "sk-very-secret-1234"
    server = judge_server(lambda content, number: (401, f"wrong key {secret}", {}))
    settings = config(server.url, api_key=secret)
    assert secret not in repr(settings)
    with pytest.raises(SdvlmError, match="refuses the key") as caught:
        EndpointClient(settings, lambda seconds: False).ask("?")
    assert server.keys == [f"Bearer {secret}"]
    assert secret not in str(caught.value)
    with pytest.raises(SdvlmError, match="holds a user or password") as caught:
        EndpointConfig("m", f"http://me:{secret}@host/v1")
    assert secret not in str(caught.value)


def test_each_outcome_comes_once_with_its_index_and_a_refusal_stops_nobody(judge_server):
    server = judge_server(lambda content, number: (400, "no", {}) if content == "q3" else content.upper())
    outcomes = dict(ask_each([f"q{n}" for n in range(8)], lambda asker, job: asker.ask(job), config(server.url)))
    assert sorted(outcomes) == list(range(8))
    assert isinstance(outcomes.pop(3), EndpointRefusedError)
    assert all(outcomes[n] == f"Q{n}" for n in outcomes)
    assert server.most_at_once <= 2


def test_a_dead_endpoint_is_not_asked_to_the_end(judge_server):
    server = judge_server(lambda content, number: (500, "down", {}))
    outcomes = dict(ask_each(list(range(50)), lambda asker, job: asker.ask(str(job)), config(server.url, tries=1)))
    assert len(outcomes) == 50
    assert all(isinstance(one, EndpointUnreachableError) for one in outcomes.values())
    assert len(server.requests) <= 5
