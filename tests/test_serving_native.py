"""Our own API against a server in another process: grids, search, cancelling while sampling, events, credits."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from serving_server import Live, png, until

CLIPS = "/muybridge/v1/clips"
SMALL = {"model": "testcard", "frames": 5, "width": 64, "height": 48}


@pytest.fixture(scope="module")
def api(live: Live) -> Iterator[httpx.Client]:
    with live.client as client:
        yield client


def finished(api: httpx.Client, clip_id: str) -> dict[str, Any]:
    done = ("succeeded", "failed", "cancelled")
    found: dict[str, Any] = until(lambda: api.get(f"{CLIPS}/{clip_id}").json(), lambda clip: clip["state"] in done)
    return found


def test_a_clip_of_a_real_model(api: httpx.Client) -> None:
    wish = {
        "model": "tiny",
        "prompt": "a red ball",
        "negative": "boxes",
        "frames": 5,
        "width": 48,
        "height": 32,
        "seed": 7,
    }
    accepted = api.post(CLIPS, json=wish | {"steps": 3, "guidance": 1.5, "solver": "euler", "fps": 10})
    assert accepted.status_code == 202
    clip = finished(api, accepted.json()["id"])
    assert (clip["state"], clip["error"], clip["progress"], clip["price"]) == ("succeeded", None, 1.0, 5)
    assert (clip["seed"], clip["frames"], clip["fps"], clip["size"]) == (7, 5, 10.0, "48x32")
    content = api.get(f"{CLIPS}/{clip['id']}/content")
    assert content.content[4:8] == b"ftyp"
    assert content.headers["content-type"] == "video/mp4"
    assert httpx.get(clip["video"]).content == content.content


def test_it_says_how_it_was_made(api: httpx.Client, tmp_path: Any) -> None:
    from muybridge.storage.provenance import from_metadata
    from muybridge.storage.video import read_mp4

    clip = finished(api, api.post(CLIPS, json=SMALL | {"prompt": "bars", "seed": 3}).json()["id"])
    file = tmp_path / "clip.mp4"
    file.write_bytes(httpx.get(clip["video"]).content)
    footage = read_mp4(file)
    assert footage.frames.shape == (5, 48, 64, 3)
    made = from_metadata(footage.metadata)
    assert (made.prompt, made.seed, made.model) == ("bars", 3, "testcard")


def test_a_grid_is_accepted_whole(api: httpx.Client) -> None:
    grid = {"prompts": ["a", "b"], "seeds": [1, 10], "variants": 2}
    batch = api.post("/muybridge/v1/batches", json=SMALL | {"grid": grid}).json()
    wishes = [(clip["prompt"], clip["seed"]) for clip in batch["clips"]]
    assert wishes == [(prompt, seed) for prompt in "ab" for seed in (1, 2, 10, 11)]
    found = api.get(CLIPS, params={"batch": batch["batch"], "limit": 3}).json()
    assert (len(found["clips"]), found["count"]) == (3, 8)
    assert api.post("/muybridge/v1/batches", json={"grid": {"variants": 256, "prompts": ["a", "b"]}}).status_code == 400


def test_search(api: httpx.Client) -> None:
    clip = api.post(CLIPS, json=SMALL | {"prompt": "an 100%_odd prompt"}).json()
    found = api.get(CLIPS, params={"words": "100%_ODD"}).json()
    assert [one["id"] for one in found["clips"]] == [clip["id"]]
    finished(api, clip["id"])
    assert api.get(CLIPS, params={"words": "100%_odd", "state": "failed"}).json()["count"] == 0


def test_cancelling_while_it_samples_frees_the_device(api: httpx.Client) -> None:
    long = {"model": "tiny", "frames": 33, "width": 128, "height": 128, "steps": 1000}
    clip = api.post(CLIPS, json=long).json()["id"]
    until(lambda: api.get(f"{CLIPS}/{clip}").json(), lambda one: one["progress"] > 0)
    cancelled = api.post(f"{CLIPS}/{clip}/cancel").json()
    assert cancelled["state"] == "cancelled"
    assert cancelled["progress"] < 0.5
    after = finished(api, api.post(CLIPS, json=SMALL).json()["id"])  # the one device is free again
    assert after["state"] == "succeeded"
    assert api.get(f"{CLIPS}/{clip}").json()["state"] == "cancelled"
    again = api.post(f"{CLIPS}/{clip}/cancel").json()
    assert again["state"] == "cancelled"


def test_events_tell_the_whole_story_with_previews(api: httpx.Client) -> None:
    wish = {"model": "tiny", "frames": 9, "width": 96, "height": 96, "steps": 60}
    clip = api.post(CLIPS, json=wish).json()["id"]
    seen: list[tuple[str, Any]] = []
    with api.stream("GET", f"{CLIPS}/{clip}/events", params={"previews": True}) as stream:
        assert stream.headers["content-type"].startswith("text/event-stream")
        kind = ""
        for line in stream.iter_lines():
            kind = line.removeprefix("event: ") if line.startswith("event: ") else kind
            if line.startswith("data: "):
                seen.append((kind, json.loads(line[6:])))
    states = [said["state"] for kind, said in seen if kind == "clip"]
    shares = [said["progress"] for kind, said in seen if kind == "clip"]
    assert states[-1] == "succeeded"
    assert shares == sorted(shares)
    assert [said for kind, said in seen if kind == "preview" and said["jpeg"].startswith("data:image/jpeg;base64,")]


def test_an_uploaded_still(api: httpx.Client, live: Live) -> None:
    still = api.post("/muybridge/v1/images", files={"file": ("a.png", png())}).json()["id"]
    wish = {"model": "tiny", "frames": 5, "width": 48, "height": 32, "image": still}
    assert finished(api, api.post(CLIPS, json=wish).json()["id"])["state"] == "succeeded"
    headers = {"Authorization": f"Bearer {live.new_key()[1]}"}
    assert httpx.post(f"{live.url}{CLIPS}", json=wish, headers=headers).status_code == 404


def test_credits_are_reserved_charged_and_released(live: Live) -> None:
    headers = {"Authorization": f"Bearer {live.new_key(credits=25)[1]}"}
    with httpx.Client(base_url=live.url, headers=headers, timeout=60) as api:

        def left() -> int:
            return int(api.get("/muybridge/v1/usage").json()["credits"])

        wish = {"model": "tiny", "seconds": 1, "width": 48, "height": 32}
        first = api.post(CLIPS, json=wish).json()
        assert (first["price"], left()) == (10, 15)
        slow = api.post(CLIPS, json=wish | {"steps": 1000}).json()["id"]
        assert left() == 5
        refused = api.post(CLIPS, json=wish)
        assert (refused.status_code, refused.json()["error"]["code"]) == (402, "no_credits")
        api.post(f"{CLIPS}/{slow}/cancel")
        api.delete(f"{CLIPS}/{slow}")
        assert left() == 15
        assert finished(api, first["id"])["state"] == "succeeded"
        used = api.get("/muybridge/v1/usage").json()["used"]
        assert [(line["model"], line["credits"], line["clips"]) for line in used] == [("tiny", 10, 1)]
        assert left() == 15


def test_other_peoples_clips_are_not_there(api: httpx.Client, live: Live) -> None:
    clip = finished(api, api.post(CLIPS, json=SMALL).json()["id"])
    headers = {"Authorization": f"Bearer {live.new_key()[1]}"}
    with httpx.Client(base_url=live.url, headers=headers) as stranger:
        for path in ("", "/content", "/events"):
            assert stranger.get(f"{CLIPS}/{clip['id']}{path}").status_code == 404
        assert stranger.post(f"{CLIPS}/{clip['id']}/cancel").status_code == 404
        assert stranger.delete(f"{CLIPS}/{clip['id']}").status_code == 404
        for path in ("/v1/videos", "/v1/tasks", "/dream-machine/v1/generations"):
            assert stranger.get(f"{path}/{clip['id']}").status_code == 404
    assert httpx.get(clip["video"].replace(clip["video"].split("/")[-2], "guessed")).status_code == 404
    assert api.get(f"{CLIPS}/{clip['id']}").status_code == 200


def test_scopes_and_rates(live: Live) -> None:
    reader = {"Authorization": f"Bearer {live.new_key(scopes=['read'], requests_per_minute=3)[1]}"}
    with httpx.Client(base_url=live.url, headers=reader) as api:
        assert api.post(CLIPS, json=SMALL).status_code == 403
        answers = [api.get(CLIPS) for _ in range(4)]
    assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
    assert answers[-1].headers["retry-after"]


def test_health_and_metrics(api: httpx.Client, live: Live) -> None:
    assert httpx.get(f"{live.url}/healthz").text == httpx.get(f"{live.url}/readyz").text == "ok"
    metrics = httpx.get(f"{live.url}/metrics").text
    assert 'muybridge_jobs{state="queued"}' in metrics
    assert 'muybridge_requests_total{dialect="native"' in metrics
    assert httpx.get(f"{live.url}/docs").status_code == 200
    assert {"/v1/videos", CLIPS, "/v1/text_to_video"} <= httpx.get(f"{live.url}/openapi.json").json()["paths"].keys()


def test_admin(live: Live) -> None:
    made = live.admin("keys", "--create", "somebody", "--credits", "7")
    key = next(word for word in made.split() if word.startswith("key_"))
    assert "somebody has 5 credits" in live.admin("credits", key, "-2")
    assert "revoked" in live.admin("keys", "--revoke", key)
    token = next(word for word in made.split() if word.startswith("mb-"))
    assert httpx.get(f"{live.url}{CLIPS}", headers={"Authorization": f"Bearer {token}"}).status_code == 401
    listed = live.admin("keys")
    assert token not in listed
    assert key in listed  # whole, although nobody's terminal is 80 columns wide here
    assert "day" in live.admin("usage")
    assert "key created" in live.admin("audit")
