"""The `runwayml` library as shipped, with strict validation, against a server in another process."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Iterator

import httpx
import pytest
import runwayml
from runwayml.types import task_retrieve_response as tasks
from serving_server import Live, film, png, until


@pytest.fixture(scope="module")
def client(live: Live) -> Iterator[runwayml.RunwayML]:
    with runwayml.RunwayML(base_url=live.url, api_key=live.token, _strict_response_validation=True) as client:
        yield client


def finished(client: runwayml.RunwayML, task_id: str) -> tasks.TaskRetrieveResponse:
    return until(lambda: client.tasks.retrieve(task_id), lambda task: task.status in ("SUCCEEDED", "FAILED"))


def test_text_to_video(client: runwayml.RunwayML) -> None:
    created = client.text_to_video.create(model="gen4.5", prompt_text="a cat", ratio="1280:720", duration=2, seed=3)
    assert created.estimated_cost.credits == 4
    task = created.wait_for_task_output(timeout=600)
    assert isinstance(task, tasks.Succeeded)
    assert task.cost.credits == 4
    clip = httpx.get(task.output[0])
    assert clip.status_code == 200
    assert clip.headers["content-type"] == "video/mp4"
    assert clip.content[4:8] == b"ftyp"


def test_image_to_video_from_an_upload(client: runwayml.RunwayML) -> None:
    uploaded = client.uploads.create_ephemeral(file=("first.png", png()))
    assert uploaded.uri.startswith("runway://")
    picture = base64.b64encode(png()).decode()
    for image in (uploaded.uri, f"data:image/png;base64,{picture}"):
        created = client.image_to_video.create(model="gen4_turbo", prompt_image=image, ratio="160:90", duration=2)  # type: ignore[call-overload]
        assert created.id
    placed = client.image_to_video.create(
        model="gen4_turbo", prompt_image=[{"uri": uploaded.uri, "position": "first"}], ratio="90:160", duration=2
    )
    assert isinstance(client.tasks.retrieve(placed.id), tasks.Pending | tasks.Running | tasks.Succeeded)


def test_text_to_image(client: runwayml.RunwayML) -> None:
    created = client.text_to_image.create(model="gen4_image", prompt_text="a cat", ratio="160:90")
    task = finished(client, created.id)
    assert isinstance(task, tasks.Succeeded)
    assert httpx.get(task.output[0]).headers["content-type"] == "image/jpeg"


def test_delete_cancels_and_forgets(client: runwayml.RunwayML) -> None:
    created = client.text_to_video.create(model="gen4.5", prompt_text="x", ratio="160:90", duration=2)  # type: ignore[call-overload]
    client.tasks.delete(created.id)
    for call in (client.tasks.retrieve, client.tasks.delete):
        with pytest.raises(runwayml.NotFoundError):
            call(created.id)


def test_organization_and_usage(client: runwayml.RunwayML, live: Live) -> None:
    created = client.text_to_video.create(model="gen4.5", prompt_text="y", ratio="160:90", duration=2)  # type: ignore[call-overload]
    finished(client, created.id)
    organization = client.organization.retrieve()
    assert organization.usage.models["gen4.5"].daily_generations >= 1
    assert organization.tier.models["gen4.5"].max_concurrent_generations == 2**31 - 1
    own = httpx.post(
        f"{live.url}/muybridge/v1/clips",
        headers={"Authorization": f"Bearer {live.token}"},
        json={"prompt": "a name that Runway's clients do not know", "model": "tiny", "frames": 5},
    )
    headers, name = {"Authorization": f"Bearer {live.token}"}, own.json()["id"]
    seen = until(
        lambda: httpx.get(f"{live.url}/muybridge/v1/clips/{name}", headers=headers).json()["state"],
        lambda state: state not in ("queued", "running"),
    )
    assert seen == "succeeded"
    used = client.organization.retrieve_usage()
    assert "gen4.5" in used.models
    assert "tiny" not in used.models
    assert used.results[-1].used_credits


def test_async(live: Live) -> None:
    async def journey() -> str:
        async with runwayml.AsyncRunwayML(
            base_url=live.url, api_key=live.token, _strict_response_validation=True
        ) as client:
            created = await client.text_to_video.create(model="gen4.5", prompt_text="z", ratio="160:90", duration=2)
            return (await client.tasks.retrieve(created.id)).status

    assert asyncio.run(journey()) in ("PENDING", "RUNNING", "SUCCEEDED")


def test_video_to_video(client: runwayml.RunwayML) -> None:
    uploaded = client.uploads.create_ephemeral(file=("first.mp4", film(15)))
    wish = {"model": "gen4.5", "prompt_text": "x"}  # which stands for the test card here: it takes anything
    for more in ({"video_uri": uploaded.uri}, {"prompt_video": uploaded.uri, "mode": "extend", "duration": 2}):
        created = client.video_to_video.create(**wish, **more)  # type: ignore[call-overload]
        task = finished(client, created.id)
        assert isinstance(task, tasks.Succeeded)
        assert httpx.get(task.output[0]).content[4:8] == b"ftyp"


def test_what_cannot_be_made_is_said(client: runwayml.RunwayML) -> None:
    uploaded = client.uploads.create_ephemeral(file=("first.mp4", film()))
    with pytest.raises(runwayml.BadRequestError, match="tiny does not take last frames"):
        client.image_to_video.create(
            model="gen4_turbo",
            prompt_image=[{"uri": f"data:image/png;base64,{base64.b64encode(png()).decode()}", "position": "last"}],
            ratio="160:90",
            duration=2,
        )
    with pytest.raises(runwayml.BadRequestError) as caught:
        client.text_to_video.create(model="gen4.5", prompt_text="x", ratio="wide", duration=2)  # type: ignore[call-overload]
    assert isinstance(caught.value.body, dict)
    assert caught.value.body["issues"][0]["path"] == ["ratio"]
    with pytest.raises(runwayml.BadRequestError, match="does not take a video to make over"):
        client.video_to_video.create(model="gen4_turbo", video_uri=uploaded.uri, prompt_text="x")  # type: ignore[call-overload]
    with pytest.raises(runwayml.BadRequestError, match="no model here does this"):
        client.post("/v1/robotics_action_to_video", cast_to=object, body={"model": "robotics_v1"})
    with pytest.raises(runwayml.APIStatusError, match="no picture or video"):
        client.uploads.create_ephemeral(file=("a.mp3", b"0000"))
    with pytest.raises(runwayml.APIStatusError, match="400"):
        client.uploads.create_ephemeral(file=("a.mp4", b"0000"))


def test_an_upload_takes_its_own_form_only(live: Live) -> None:
    with live.client as client:
        given = client.post("/v1/uploads", json={"filename": "a.png", "type": "ephemeral"}).json()
    forged = given["fields"] | {"token": "guessed"}
    assert httpx.post(given["uploadUrl"], data=forged, files={"file": ("a.png", png())}).status_code == 403
    assert httpx.post(given["uploadUrl"], data=given["fields"], files={"file": ("a.png", b"no")}).status_code == 400
    assert httpx.post(given["uploadUrl"], data=given["fields"], files={"file": ("a.png", png())}).status_code == 204
    assert httpx.post(given["uploadUrl"], data=given["fields"], files={"file": ("a.png", png())}).status_code == 403
