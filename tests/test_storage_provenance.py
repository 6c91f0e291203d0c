"""Settings to metadata and back, through real MP4 files; commands through a real shell."""

from __future__ import annotations

import json
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from muybridge.storage.provenance import KEY, Provenance, command, digest, from_metadata, to_metadata, to_plain_metadata
from muybridge.storage.video import read_metadata, write_mp4

MADE = Provenance(
    prompt="a small red ball rolls behind a tall blue box",
    seed=7,
    model="nano",
    model_hash="0123456789ab",
    steps=25,
    guidance=4.5,
    solver="heun",
    frames=33,
    height=128,
    width=192,
    fps=15.0,
    version="0.1.0",
    watermark=1,
)
PROMPTS = [
    "",
    "-n",
    "--seed",
    'it\'s "so" `$HOME` \\ *',
    "a\nb\tc",
    "😀 é 红球",
    "\0",
    "\ud800",
    "x" * 10_000,
    "红😀\n" * 2_500,
]
anything = st.text() | st.sampled_from(PROMPTS) | st.text(st.characters())  # the last: lone surrogates too


@settings(max_examples=50, deadline=None)
@given(prompt=anything, negative=anything, model=anything, seed=st.integers(0, 2**64), fps=st.floats(0.1, 1000))
def test_any_prompt_comes_back_as_it_was(prompt: str, negative: str, model: str, seed: int, fps: float) -> None:
    made = replace(MADE, prompt=prompt, negative=negative, model=model, seed=seed, fps=fps, image="ab" * 32)
    assert from_metadata(to_metadata(made)) == made


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(prompt=anything)
def test_and_through_a_file(tmp_path: Path, prompt: str) -> None:
    made = replace(MADE, prompt=prompt, negative=prompt[::-1])
    write_mp4(tmp_path / "a.mp4", np.zeros((1, 16, 16, 3), np.uint8), 15.0, to_metadata(made))
    assert from_metadata(read_metadata(tmp_path / "a.mp4")) == made


@pytest.mark.parametrize("prompt", PROMPTS)
def test_the_hard_ones_through_a_file(tmp_path: Path, prompt: str) -> None:
    made = replace(MADE, prompt=prompt)
    write_mp4(tmp_path / "a.mp4", np.zeros((1, 16, 16, 3), np.uint8), 15.0, to_metadata(made))
    assert from_metadata(read_metadata(tmp_path / "a.mp4")) == made


def test_people_can_read_it() -> None:
    texts = to_metadata(MADE)
    assert texts["title"] == MADE.prompt
    assert texts["comment"] == (
        "Made by Muybridge 0.1.0 with nano (0123456789ab): seed 7, 25 steps of heun, guidance 4.5. A synthetic video."
    )


def test_what_is_nobodys_business_is_left_out() -> None:
    assert to_plain_metadata(MADE) == {"comment": "Made by Muybridge 0.1.0 with nano (0123456789ab). Synthetic."}


def test_the_digest_is_of_what_decides() -> None:
    renamed = replace(MADE, model="/models/nano", image_name="b.png", version="9", watermark=0)
    assert digest(renamed) == digest(MADE)
    for change in ({"seed": 8}, {"prompt": "b"}, {"model_hash": "f" * 12}, {"fps": 16.0}, {"shift": 3.0}):
        assert digest(replace(MADE, **change)) != digest(MADE)
    assert digest(MADE).hex()[:16] == "cdf10544aa3ca199", "marks of earlier clips would no longer be told"


def test_the_finer_settings_are_in_the_command_where_they_are_known() -> None:
    finer = {"shift": 4, "guidance_low": 0.0, "guidance_high": 0.9, "rescale": 0.25, "context_noise": 0.05}
    made = replace(MADE, **finer, drafts=8, draft_steps=16, plan_steps=4, tries=2)
    assert from_metadata(to_metadata(made)) == made
    said = (
        "--shift 4 --guidance-low 0 --guidance-high 0.9 --rescale 0.25 --context-noise 0.05 --drafts 8 "
        "--draft-steps 16 --plan-steps 4 --tries 2"
    )
    assert f"--solver heun {said} --size" in command(made)
    undrafted = command(replace(made, drafts=0))
    assert "--drafts 0 --plan-steps 4 --tries 2 --size" in undrafted, "steps of drafts that are not drawn say nothing"


def test_the_command_as_it_stands() -> None:
    assert command(MADE) == (
        "muybridge generate 'a small red ball rolls behind a tall blue box' --seed 7 --steps 25 --guidance 4.5 "
        "--solver heun --plan-steps 0 --tries 1 --size 192x128 --seconds 2.2 --fps 15 --model nano --engine torch "
        "-o out.mp4"
    )
    still = replace(MADE, image="ab" * 32, image_name="my still.png", negative="blur")
    assert "--negative blur --image 'my still.png' --seed" in command(still)
    assert "--image STILL.png" in command(replace(still, image_name=""))
    assert "--model nano --engine torch --no-watermark -o" in command(replace(MADE, watermark=0))
    assert "--model nano --engine openvino-bf16 -o" in command(replace(MADE, engine="openvino-bf16"))


printable = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=50)


@settings(max_examples=30, deadline=None)
@given(prompt=printable, negative=printable)
def test_a_shell_reads_the_command_as_it_was_meant(prompt: str, negative: str) -> None:
    made = replace(MADE, prompt=prompt, negative=negative)
    script = "muybridge() { printf '%s\\0' \"$@\"; }\n" + command(made)
    said = subprocess.run(["sh", "-c", script], capture_output=True, check=True).stdout.decode().split("\0")[:-1]
    assert said[0] == "generate"
    if prompt.startswith("-"):
        assert said[-2:] == ["--", prompt]
    else:
        assert said[1] == prompt
    if negative.startswith("-"):
        assert f"--negative={negative}" in said
    elif negative:
        assert said[said.index("--negative") + 1] == negative


@given(k=st.integers(0, 1000), fps=st.sampled_from([15.0, 24.0, 29.97, 30000 / 1001, 7.3]) | st.floats(1, 120))
def test_seconds_and_rate_give_the_frames_back(k: int, fps: float) -> None:
    words = command(replace(MADE, frames=1 + 4 * k, fps=fps)).split()
    seconds, rate = (float(words[words.index(option) + 1]) for option in ("--seconds", "--fps"))
    assert rate == fps
    assert round(seconds * rate) == 1 + 4 * k


@pytest.mark.parametrize("prompt", ["a\0b", "\ud800"])
def test_what_no_shell_can_carry(prompt: str) -> None:
    with pytest.raises(ValueError, match=r"no command line can carry .*: make this clip again from Python"):
        command(replace(MADE, prompt=prompt))


def test_files_that_do_not_say() -> None:
    good = json.loads(to_metadata(MADE)[KEY])
    for metadata, sentence in [
        ({}, "does not say how it was made: .*: look for the original file"),
        ({"comment": "holiday"}, "does not say how it was made"),
        ({KEY: "{"}, "is damaged"),
        ({KEY: "[1]"}, "is damaged"),
        ({KEY: "[" * 100_000}, "is damaged"),
        ({KEY: "9" * 10_000}, "is damaged"),
        ({KEY: json.dumps({**good, "format": 2})}, "made by a newer Muybridge .format 2, .*: update with `pip install"),
        ({KEY: json.dumps({**good, "seed": "7"})}, r"is damaged \(seed\)"),
        ({KEY: json.dumps({**good, "seed": True})}, r"is damaged \(seed\)"),
        ({KEY: json.dumps({**good, "fps": 0.0})}, r"is damaged \(fps\)"),
        ({KEY: json.dumps({**good, "guidance": float("nan")})}, r"is damaged \(guidance\)"),
        ({KEY: json.dumps({k: v for k, v in good.items() if k != "prompt"})}, r"is damaged \(prompt\)"),
    ]:
        with pytest.raises(ValueError, match=sentence):
            from_metadata(metadata)
    assert from_metadata({KEY: json.dumps({**good, "later": "addition"})}) == MADE


@given(
    content=st.dictionaries(
        st.sampled_from([*MADE.__dict__, "format"]), st.none() | st.booleans() | st.integers() | st.floats() | st.text()
    )
)
def test_any_json_is_read_or_refused(content: dict[str, object]) -> None:
    good = json.loads(to_metadata(MADE)[KEY])
    made, refused = attempt({KEY: json.dumps({**good, **content})})
    if made is None:
        assert "use the original file" in refused or "update with" in refused
    else:
        assert from_metadata(to_metadata(made)) == made


def attempt(metadata: dict[str, str]) -> tuple[Provenance | None, str]:
    try:
        return from_metadata(metadata), ""
    except ValueError as error:
        return None, str(error)
