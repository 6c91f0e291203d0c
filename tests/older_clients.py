"""What `test_clients_older` runs in a process of its own, where older libraries are found first.

python older_clients.py LIBRARY SERVER KEY
"""

from __future__ import annotations

import base64
import sys
import time
from collections.abc import Callable
from typing import Any

import httpx
import numpy as np
import pytest
from serving_server import film, png


def until(look: Callable[[], Any], done: Callable[[Any], bool]) -> Any:
    end = time.monotonic() + 600
    while not done(seen := look()):
        assert time.monotonic() < end, seen
        time.sleep(0.2)
    return seen


def refused(call: Callable[..., Any], error: type[Exception], *words: Any, said: str = "", **more: Any) -> None:
    """Asserts that a call ends in this error, which says this."""
    with pytest.raises(error, match=said):
        call(*words, **more)


def openai(server: str, key: str) -> None:
    """2.2.0, the first with videos: JSON where there is no file."""
    import openai as library

    assert library.__version__ == "2.2.0"
    client = library.OpenAI(base_url=f"{server}/v1", api_key=key, _strict_response_validation=True)
    video = client.videos.create_and_poll(prompt="a red ball", poll_interval_ms=200)
    assert (video.status, video.progress, video.size, video.seconds) == ("completed", 100, "720x1280", "4")
    assert client.videos.download_content(video.id).read()[4:8] == b"ftyp"
    still: Any = {"seconds": "4", "input_reference": ("first.png", png())}
    assert client.videos.create(prompt="x", **still).object == "video"
    assert client.videos.remix(video.id, prompt="blue").remixed_from_video_id == video.id
    assert video.id in {one.id for one in client.videos.list(limit=1)}
    assert client.videos.delete(video.id).deleted
    refused(client.videos.retrieve, library.NotFoundError, video.id)
    refused(client.videos.create, library.BadRequestError, prompt="x", model="sora-9", said="sora-2")


def lumaai(server: str, key: str) -> None:
    """1.0.2, the first: POST /generations."""
    import lumaai as library

    assert library.__version__ == "1.0.2"
    url = f"{server}/dream-machine/v1"
    client = library.LumaAI(base_url=url, auth_token=key, _strict_response_validation=True)
    frame: Any = {"frame0": {"type": "image", "url": f"data:image/png;base64,{base64.b64encode(png()).decode()}"}}
    small: Any = {"model": "ray-flash-2", "resolution": "90p", "duration": "1s"}  # fields that this version lacks
    created = client.generations.create(prompt="a ball", aspect_ratio="1:1", keyframes=frame, extra_body=small)
    made = until(lambda: client.generations.get(created.id or ""), lambda one: one.state in ("completed", "failed"))
    assert made.state == "completed", made.failure_reason
    assert httpx.get(made.assets.video).content[4:8] == b"ftyp"
    assert "pan_left" in client.generations.camera_motion.list()  # type: ignore[attr-defined]
    assert client.ping.check().message == "pong"
    client.generations.list(limit=2)
    client.generations.delete(made.id)
    refused(client.generations.get, library.NotFoundError, made.id)


def runwayml(server: str, key: str) -> None:
    """4.18.0, the last of the major version before."""
    import runwayml as library

    assert library.__version__ == "4.18.0"
    client = library.RunwayML(base_url=server, api_key=key, _strict_response_validation=True)
    wish: Any = {"model": "gen4.5", "prompt_text": "a cat", "ratio": "1280:720", "duration": 2}
    task: Any = client.text_to_video.create(**wish).wait_for_task_output(timeout=600)
    assert task.status == "SUCCEEDED"
    assert httpx.get(task.output[0]).content[4:8] == b"ftyp"
    uploaded = client.uploads.create_ephemeral(file=("first.png", png()))
    still: Any = {"model": "gen4_turbo", "prompt_image": uploaded.uri, "ratio": "160:90", "duration": 2}
    made = client.image_to_video.create(**still)
    client.tasks.delete(made.id)
    refused(client.tasks.retrieve, library.NotFoundError, made.id)
    video: Any = {"model": "gen4_turbo", "video_uri": client.uploads.create_ephemeral(file=("a.mp4", film())).uri}
    video |= {"ratio": "1280:720", "prompt_text": "x"}
    refused(client.video_to_video.create, library.BadRequestError, said="does not take a video to make over", **video)
    assert "gen4.5" in client.organization.retrieve().usage.models
    assert "gen4.5" in client.organization.retrieve_usage().models


def robotics(server: str, key: str) -> None:
    """runway-robotics-sdk 0.1.0: there is no model for it yet, and that is said."""
    import runwayml as library
    from runway_robotics_sdk import RunwayRobotics

    world = RunwayRobotics(api_key=key, base_url=server).world_model.create(np.zeros((32, 48, 3), np.uint8))
    refused(world.step, library.BadRequestError, [[0.0] * 7], said="no model here does this")


if __name__ == "__main__":
    {"openai": openai, "lumaai": lumaai, "runwayml": runwayml, "robotics": robotics}[sys.argv[1]](*sys.argv[2:])
