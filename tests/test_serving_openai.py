"""The `openai` library as shipped, with strict validation, against a server in another process."""

from __future__ import annotations

import base64
import warnings
from collections.abc import Iterator
from pathlib import Path

import av
import httpx
import openai
import pytest
from serving_server import Live, film, png


@pytest.fixture(autouse=True)
def _deprecated() -> Iterator[None]:
    """The library calls its own videos deprecated since their service closed."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        yield


@pytest.fixture(scope="module")
def client(live: Live) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{live.url}/v1", api_key=live.token, _strict_response_validation=True) as client:
        yield client


@pytest.fixture(scope="module")
def video(client: openai.OpenAI) -> openai.types.Video:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        return client.videos.create_and_poll(prompt="a red ball", seconds="1", poll_interval_ms=200)  # type: ignore[arg-type]


def test_a_video_is_made(client: openai.OpenAI, video: openai.types.Video, tmp_path: Path) -> None:
    assert (video.status, video.progress, video.error) == ("completed", 100, None)
    assert (video.model, video.size, video.seconds, video.prompt) == ("sora-2", "720x1280", "1", "a red ball")
    file = tmp_path / "clip.mp4"
    file.write_bytes(client.videos.download_content(video.id).read())
    with av.open(str(file)) as container:
        stream = container.streams.video[0]
        assert (stream.width, stream.height, stream.frames) == (720, 1280, 17)
    for variant in ("thumbnail", "spritesheet"):
        picture = client.videos.download_content(video.id, variant=variant).read()  # type: ignore[arg-type]
        assert picture.startswith(b"\xff\xd8")


def test_it_is_listed(client: openai.OpenAI, video: openai.types.Video) -> None:
    client.videos.create(prompt="another", seconds="1", size="1280x720")  # type: ignore[arg-type]
    first = client.videos.list(limit=1)
    assert first.has_more
    assert first.data[0].prompt == "another"
    listed = [one.id for one in client.videos.list(limit=1, order="asc")]
    assert len(listed) == len(set(listed)) >= 2
    assert video.id in listed


def test_a_first_frame_as_a_file_and_by_data_uri(client: openai.OpenAI, live: Live) -> None:
    made = client.videos.create(prompt="x", seconds="1", model="tiny", input_reference=("a.png", png()))  # type: ignore[arg-type]
    assert made.status in ("queued", "in_progress", "completed")
    uri = f"data:image/png;base64,{base64.b64encode(png()).decode()}"
    headers = {"Authorization": f"Bearer {live.token}"}
    url = f"{live.url}/v1/videos"
    plain = {"prompt": "x", "seconds": 1, "input_reference": {"image_url": uri}, "extension": [1]}
    assert httpx.post(url, json=plain, headers=headers).status_code == 200
    bracketed = {"prompt": (None, "x"), "input_reference[image_url]": (None, uri), "seconds": (None, "1")}
    assert httpx.post(url, files=bracketed, headers=headers).status_code == 200
    with pytest.raises(openai.BadRequestError, match="no picture"):
        client.videos.create(prompt="x", seconds="1", input_reference=("a.png", b"no picture"))  # type: ignore[arg-type]


def test_remix(client: openai.OpenAI, video: openai.types.Video) -> None:
    made = client.videos.remix(video.id, prompt="a blue ball")
    assert (made.remixed_from_video_id, made.size, made.prompt) == (video.id, video.size, "a blue ball")


def test_delete(client: openai.OpenAI) -> None:
    made = client.videos.create(prompt="to be deleted", seconds="1")  # type: ignore[arg-type]
    assert client.videos.delete(made.id).deleted
    for call in (client.videos.retrieve, client.videos.delete, client.videos.download_content):
        with pytest.raises(openai.NotFoundError):
            call(made.id)


def test_what_cannot_be_made_is_said(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        client.videos.create(prompt="x", model="sora-9")
    assert (caught.value.code, caught.value.param) == ("model_not_found", "model")
    assert "sora-2" in caught.value.message
    with pytest.raises(openai.BadRequestError, match=r"at most 8\.5 s"):
        client.videos.create(prompt="x", model="tiny", seconds="12")
    with pytest.raises(openai.BadRequestError, match="prompt"):
        client.videos.create(prompt="")
    with pytest.raises(openai.BadRequestError, match="no MP4"):
        client.videos.edit(prompt="x", video=("a.mp4", b"0"))
    with pytest.raises(openai.BadRequestError, match="tiny does not take a video to make over"):
        client.videos.edit(prompt="x", video=("a.mp4", film()), extra_body={"model": "tiny"})
    with pytest.raises(openai.BadRequestError, match="keeps characters"):
        client.videos.create_character(name="x", video=("a.mp4", film()))


def test_extensions(client: openai.OpenAI, video: openai.types.Video, live: Live) -> None:
    """By a file, as the library can; by id, as it says in its types and cannot. The seconds are those of the whole."""
    added = {"prompt": "on", "seconds": "2"}
    made = client.videos.extend(video=("a.mp4", film(15, 1280, 720)), **added)  # type: ignore[arg-type]
    assert client.videos.poll(made.id, poll_interval_ms=200).status == "completed"
    assert (made.size, made.seconds) == ("720x1280", "2.86667")
    headers = {"Authorization": f"Bearer {live.token}"}
    for fields in ({"json": added | {"video": {"id": video.id}}}, {"data": added | {"video[id]": video.id}}):
        longer = httpx.post(f"{live.url}/v1/videos/extensions", headers=headers, **fields).json()  # type: ignore[arg-type]
        assert (longer["size"], longer["remixed_from_video_id"]) == ("720x1280", video.id)


def test_extension_fields(client: openai.OpenAI) -> None:
    made = client.videos.create(prompt="x", extra_body={"num_frames": 9, "fps": 10, "seed": 3})
    assert made.seconds == "0.9"


def test_a_wrong_key(live: Live) -> None:
    with (
        openai.OpenAI(base_url=f"{live.url}/v1", api_key="mb-wrong") as stranger,
        pytest.raises(openai.AuthenticationError) as caught,
    ):
        stranger.videos.create(prompt="x")
    assert caught.value.code == "invalid_api_key"


def test_models_are_listed(client: openai.OpenAI) -> None:
    assert {"tiny", "testcard", "sora-2"} <= {model.id for model in client.models.list()}
