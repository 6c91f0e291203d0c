"""Videos that are handed in: carried on, made over by a model that can, refused where none can, and hostile ones."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from serving_server import TABLE, film, png
from starlette.testclient import TestClient
from tiny_checkpoint import build_planning_model

from muybridge.serving import footage
from muybridge.serving.app import TELL, build_app
from muybridge.serving.database import Job
from muybridge.serving.engine import condition_of
from muybridge.serving.keys import create_key
from muybridge.serving.orders import Order
from muybridge.serving.server import Server, build_server
from muybridge.serving.settings import ServerSettings
from muybridge.serving.worker import Worker, handed_in
from muybridge.storage import manifest
from muybridge.storage.credentials import load_or_create
from muybridge.storage.provenance import carried_on, from_metadata
from muybridge.storage.video import read_mp4

pytestmark = pytest.mark.filterwarnings("ignore")  # diffusers and what it brings
CLIPS = "/muybridge/v1/clips"
SMALL = {"width": 64, "height": 64}
LUMA = np.array([0.2126, 0.7152, 0.0722])


@pytest.fixture(scope="module")
def server(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Server:
    tiny_pipelines = pytest.importorskip("tiny_pipelines")
    pytest.importorskip("diffusers")
    home = tmp_path_factory.mktemp("footage")
    tiny_pipelines.wan_vace().save_pretrained(home / "vace")
    vace = f'[models.vace]\ncheckpoint = "{home / "vace"}"\ncredits_per_second = 3\n\n[names]\n"gen4_aleph" = "vace"\n'
    planned = build_planning_model(home / "planned")
    vace = f'[models.planned]\ncheckpoint = "{planned}"\ncredits_per_second = 1\n\n{vace}'
    (home / "models.toml").write_text(TABLE.format(tiny=tiny_model).replace("[names]\n", vace), encoding="utf-8")
    load_or_create(home / "signing.pem")
    settings = ServerSettings(
        home=home, requests_per_minute=0, signing_key=home / "signing.pem", max_video_bytes=200_000, devices=("cpu",)
    )
    return build_server(settings, TELL)


@pytest.fixture(scope="module")
def worker(server: Server) -> Worker:
    return Worker(server.database, server.jobs, server.settings)


def client_of(server: Server) -> TestClient:
    with server.database.write() as session:
        _, token = create_key(session, "tests", ("generate", "read"), credits=10_000)
    return TestClient(build_app(server), headers={"Authorization": f"Bearer {token}"}, raise_server_exceptions=False)


@pytest.fixture(scope="module")
def api(server: Server) -> Iterator[TestClient]:
    with client_of(server) as client:
        yield client


def made(api: TestClient, worker: Worker, wish: dict[str, Any], path: str = CLIPS) -> dict[str, Any]:
    """A clip, made here and now, as our own API describes it."""
    accepted = api.post(path, json=wish)
    assert accepted.status_code < 300, accepted.text
    job_id = accepted.json()["id"].removeprefix("video_")
    worker.make(job_id)
    clip: dict[str, Any] = api.get(f"{CLIPS}/{job_id}").json()
    assert clip["state"] == "succeeded", clip
    return clip


def frames_of(api: TestClient, clip: dict[str, Any], folder: Path) -> np.ndarray:
    (folder / "clip.mp4").write_bytes(api.get(f"{CLIPS}/{clip['id']}/content").content)
    return read_mp4(folder / "clip.mp4").frames.astype(float)


def test_a_clip_is_carried_on(api: TestClient, worker: Worker, tmp_path: Path) -> None:
    """Of the file that comes out the first part is the clip, frame for frame; only what is new is paid for."""
    first = made(api, worker, {"model": "testcard", "prompt": "bars", "frames": 9, **SMALL})
    before = frames_of(api, first, tmp_path)
    wish = {"model": "tiny", "prompt": "it falls", "extend": first["id"], "seconds": 0.8, "steps": 2}
    longer = made(api, worker, wish)
    after = frames_of(api, longer, tmp_path)
    assert (longer["size"], longer["frames"], longer["price"]) == ("64x64", 9 + 12, 8)
    assert longer["seconds"] == pytest.approx(21 / 15)
    assert after.shape == (21, 64, 64, 3)
    assert np.abs((after[:9] - before) @ LUMA).mean() < 4  # colours lose more when they are halved again
    footage = read_mp4(tmp_path / "clip.mp4")
    said = from_metadata(footage.metadata)
    assert (said.prompt, carried_on(said)) == ("it falls", True)
    with (tmp_path / "clip.mp4").open("rb") as file:
        signature = manifest.read(file)
    assert (signature.state, signature.sources) == ("valid", ("clip",))


def test_the_model_is_shown_the_last_frames(api: TestClient, server: Server) -> None:
    video = api.post("/muybridge/v1/videos", files={"file": ("a.mp4", film(20, 64, 64))}).json()["id"]
    order = order_of_job(server, api.post(CLIPS, json={"model": "tiny", "extend": video, "seconds": 1, **SMALL}))
    files = handed_in(order, server.settings)
    prefix = condition_of(order, files).prefix
    assert prefix is not None
    shown = ((prefix + 1) * 127.5).permute(0, 2, 3, 1).numpy()
    assert np.abs(shown - read_mp4(files["extend"]).frames[-5:]).max() < 1
    assert (order.known, order.frames, order.length) == (5, 21, 20 + 16)


def order_of_job(server: Server, accepted: Any) -> Order:
    assert accepted.status_code < 300, accepted.text
    with server.database.read() as session:
        return Order.model_validate(session.get_one(Job, accepted.json()["id"].removeprefix("video_")).order)


def test_a_video_is_made_over_by_a_model_that_can(api: TestClient, worker: Worker, tmp_path: Path) -> None:
    video = api.post("/muybridge/v1/videos", files={"file": ("a.mp4", film(9, 32, 32, 16.0))}).json()["id"]
    mask = api.post("/muybridge/v1/images", files={"file": ("a.png", png(32, 32))}).json()["id"]
    wish = {"prompt": "x", "video": video, "mask": mask, "strength": 0.5, "steps": 1, "width": 32, "height": 32}
    clip = made(api, worker, wish)  # no model is named: the first that can
    assert (clip["model"], clip["frames"], clip["size"], clip["price"]) == ("vace", 9, "32x32", 2)
    frames_of(api, clip, tmp_path)
    said = from_metadata(read_mp4(tmp_path / "clip.mp4").metadata)
    assert json.loads(said.options) == ["--video", "VIDEO.mp4", "--strength", "0.5", "--mask", "MASK.png"]


def test_a_thing_goes_where_it_is_wished(api: TestClient, worker: Worker, tmp_path: Path) -> None:
    wish = {"prompt": "a red ball", "moves": ["red ball: 0.2,0.5 0.8,0.5"], "frames": 9, "steps": 1, "seed": 4}
    clip = made(api, worker, wish | {"width": 48, "height": 32})  # no model is named: the first that can
    assert clip["model"] == "planned"
    frames = frames_of(api, clip, tmp_path)
    said = from_metadata(read_mp4(tmp_path / "clip.mp4").metadata)
    assert json.loads(said.options) == ["--move", "red ball: 0.2,0.5 0.8,0.5"]
    other = wish | {"moves": ["red ball: 0.8,0.5 0.2,0.5"], "width": 48, "height": 32}
    assert not np.array_equal(frames, frames_of(api, made(api, worker, other), tmp_path))


def test_last_frames_and_control_reach_the_model(api: TestClient, server: Server) -> None:
    uri = f"data:image/png;base64,{base64.b64encode(png()).decode()}"
    sides = {"width": 48, "height": 32}
    order = order_of_job(server, api.post(CLIPS, json={"prompt": "x", "last_image": uri, "frames": 9, **sides}))
    condition = condition_of(order, handed_in(order, server.settings))
    assert (order.model, condition.given) == ("vace", {"prompt", "ending"})
    control = f"data:video/mp4;base64,{base64.b64encode(film(9, 32, 48, 16.0)).decode()}"
    order = order_of_job(server, api.post(CLIPS, json={"prompt": "x", "control": control, **sides}))
    condition = condition_of(order, handed_in(order, server.settings))
    assert (condition.given, condition.control is not None and condition.control.shape) == (
        {"prompt", "control"},
        (9, 3, 32, 48),
    )


@pytest.mark.parametrize(
    ("wish", "said"),
    [
        (
            {"model": "tiny", "video": "V"},
            r"tiny does not take a video to make over \(vace does\): it takes a prompt, ",
        ),
        ({"model": "tiny", "last_image": "I"}, r"tiny does not take last frames \(vace does\)"),
        (
            {"model": "tiny", "camera": {"camera_to_world": [[[1, 0, 0, 0]] * 4]}},
            r"path \(no model here does\)",
        ),
        ({"model": "tiny", "moves": ["red ball: 0,0"]}, r"tiny does not take where a thing goes \(planned does\)"),
        ({"model": "tiny", "moves": ["red ball"]}, "'red ball' is no move: write a thing and its points"),
        ({"model": "tiny", "moves": ["ball: 0,0"]}, "'ball' cannot be moved: name a colour"),
        ({"model": "vace", "mask": "I"}, "there is none: give it"),
        ({"model": "vace", "video": "V", "strength": 0}, "more than 0"),
        ({"model": "vace", "video": "V", "seconds": 4}, "the video plays"),
        ({"model": "vace", "video": "V", "solver": "heun"}, "its own way"),
        ({"model": "vace", "width": 4096, "height": 4096}, "at most 4 times"),
        ({"model": "tiny", "extend": "V", "image": "I"}, "leave the first frame out"),
        ({"model": "tiny", "extend": "V", "frames": 9}, "in seconds"),
        ({"model": "tiny", "extend": "V", "seconds": 9}, "at most 8.5 s"),
        ({"model": "tiny", "extend": "S", "seconds": 1}, "give a longer one"),
    ],
)
def test_what_cannot_be_made_is_said(api: TestClient, wish: dict[str, Any], said: str) -> None:
    uris = {
        "V": f"data:video/mp4;base64,{base64.b64encode(film()).decode()}",
        "S": f"data:video/mp4;base64,{base64.b64encode(film(2)).decode()}",
        "I": f"data:image/png;base64,{base64.b64encode(png()).decode()}",
    }
    answer = api.post(
        CLIPS, json={"prompt": "x"} | {k: uris.get(v, v) if isinstance(v, str) else v for k, v in wish.items()}
    )
    assert answer.status_code == 400
    assert re.search(said, answer.json()["error"]["message"]), answer.json()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"no video",
        b"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nfile:///etc/passwd\n",
        b"ffconcat version 1.0\nfile '/etc/passwd'\n",
        film()[:-40],
        png(),
        film() + bytes(200_000),
    ],
    ids=["empty", "text", "playlist", "list", "cut off", "picture", "too long"],
)
def test_what_is_no_fair_video_is_refused(api: TestClient, content: bytes) -> None:
    answer = api.post("/muybridge/v1/videos", files={"file": ("a.mp4", content)})
    assert answer.status_code == 400
    assert answer.json()["error"]["code"] == "invalid_video", answer.json()


def test_a_video_of_many_pixels_is_refused_before_it_is_decoded(
    api: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(footage, "MOST_SAMPLES", 3 * 64 * 48 * 8)
    answer = api.post("/muybridge/v1/videos", files={"file": ("a.mp4", film(9))})
    assert "9 frames of 64x48" in answer.json()["error"]["message"]


def test_clips_of_others_and_unfinished_ones_are_not_taken(api: TestClient, server: Server, worker: Worker) -> None:
    first = made(api, worker, {"model": "testcard", "prompt": "x", "frames": 9, **SMALL})
    waiting = api.post(CLIPS, json={"model": "testcard", "prompt": "x", "frames": 9}).json()["id"]
    wish = {"model": "testcard", "prompt": "x", "seconds": 1}
    assert "has succeeded" in api.post(CLIPS, json=wish | {"extend": waiting}).json()["error"]["message"]
    mine = api.post("/muybridge/v1/videos", files={"file": ("a.mp4", film())}).json()["id"]
    with client_of(server) as stranger:
        for reference in (first["id"], mine):
            assert stranger.post(CLIPS, json=wish | {"extend": reference}).status_code == 404


def test_links_to_results_need_not_be_fetched(api: TestClient, worker: Worker) -> None:
    """What a task of Runway's API gave out goes straight into the next one, on a machine that fetches no http."""
    first = made(api, worker, {"model": "testcard", "prompt": "x", "frames": 33, **SMALL})
    assert first["video"].startswith("http://")
    wish = {"model": "gen4_aleph", "promptText": "x"}
    assert api.post("/v1/video_to_video", json=wish | {"videoUri": first["video"]}).status_code == 200
    still = wish | {"model": "gen4_turbo", "promptImage": first["thumbnail"], "ratio": "64:64"}
    assert api.post("/v1/image_to_video", json=still).status_code == 200
    forged = first["video"].replace(first["video"].split("/")[-2], "0" * 22)
    assert api.post("/v1/video_to_video", json=wish | {"videoUri": forged}).status_code == 400


def test_runway_carries_on_what_was_uploaded(api: TestClient, worker: Worker) -> None:
    given = api.post("/v1/uploads", json={"filename": "a.MP4"}).json()
    assert api.post(
        f"/v1/uploads/{given['fields']['key']}", data=given["fields"], files={"file": ("a", film())}
    ).is_success
    wish = {"model": "gen4.5", "promptText": "x", "promptVideo": given["runwayUri"], "mode": "extend", "duration": 2}
    assert made(api, worker, wish, "/v1/video_to_video")["frames"] == 9 + 28
    asked = {"model": "gen4_turbo", "promptImage": given["runwayUri"], "ratio": "64:64"}
    assert "is a video" in api.post("/v1/image_to_video", json=asked).json()["error"]


def test_luma_modifies(api: TestClient) -> None:
    uri = f"data:video/mp4;base64,{base64.b64encode(film()).decode()}"
    wish = {"generation_type": "modify_video", "model": "vace", "mode": "flex_2", "media": {"url": uri}, "prompt": "x"}
    created = api.post("/dream-machine/v1/generations/video/modify", json=wish)
    assert created.status_code == 201, created.text
    assert created.json()["request"]["mode"] == "flex_2"
    refused = api.post("/dream-machine/v1/generations/video/modify", json=wish | {"model": "ray-flash-2"})
    assert "does not take a video" in refused.json()["detail"]


def test_openai_edits_by_a_model_that_can(api: TestClient) -> None:
    asked = {"prompt": (None, "x"), "video": ("a.mp4", film())}
    edited = api.post("/v1/videos/edits", files=asked)
    assert (edited.status_code, edited.json()["model"]) == (200, "vace")
    refused = api.post("/v1/videos/edits", files=asked | {"model": (None, "tiny")})
    assert "vace does" in refused.json()["error"]["message"]
