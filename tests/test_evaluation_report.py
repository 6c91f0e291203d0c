"""Reports: shares and groups worked out by hand, what is saved is what is loaded; a page that stands alone."""

from __future__ import annotations

import base64
import io
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from tiny_suite import Tiny

from muybridge.evaluation import page
from muybridge.evaluation.report import Report, compare, load, save_differences
from muybridge.evaluation.running import TRUTH, Contestant, Entry, Result, baselines, maker, run
from muybridge.evaluation.statistics import mean

ONE = Result(
    contestant="model",
    key="",
    suite="falling",
    split="in distribution",
    number=0,
    seed=5,
    prompt="a ball",
    known=5,
    scene="s0",
    clip="c",
    code="x",
    read=True,
    score=1.0,
    why="",
    errors={"place, radii": 0.5},
    groups={"law": "drop"},
)


def results(scores: list[float], contestant: str = "model", split: str = "in distribution") -> list[Result]:
    return [
        replace(
            ONE,
            contestant=contestant,
            split=split,
            number=n,
            scene=f"{split} {n}",
            score=score,
            why="" if score == 1 else f"frame {n} is wrong",
            errors={"place, radii": 1 - score} if n % 2 == 0 else {},
            groups={"law": ("drop", "throw")[n % 2]},
        )
        for n, score in enumerate(scores)
    ]


def report(*parts: list[Result]) -> Report:
    return Report("model", {"model": "nano", "seed": 0}, tuple(one for part in parts for one in part))


def test_a_row_is_what_one_counts_by_hand() -> None:
    made = results([1, 0.5, 0, 1])
    made[2] = replace(made[2], read=False, errors={})
    (row,) = report(made).rows
    assert row.score == mean([1, 0.5, 0, 1])
    assert row.score.value == 0.625
    assert row.whole == mean([1, 0, 0, 1])
    assert row.errors == {"place, radii": mean([0.0])}
    assert row.groups == {"law": {"drop": mean([1.0, 0.0]), "throw": mean([0.5, 1.0])}}
    assert row.unread == 1


def test_nobody_is_mixed_with_anybody() -> None:
    found = report(results([1, 1]), results([0, 0], TRUTH), results([1, 0], split="speed"))
    assert [(row.contestant, row.split, row.score.value) for row in found.rows] == [
        ("model", "in distribution", 1.0),
        (TRUTH, "in distribution", 0.0),
        ("model", "speed", 0.5),
    ]
    assert len(found.own) == 4


def test_what_is_saved_is_what_is_loaded(tmp_path: Path) -> None:
    found = report(results([1, 0.25, 0]), results([1, 1, 1], TRUTH))
    found.save(tmp_path / "deep" / "report.json")
    assert load(tmp_path / "deep" / "report.json") == found
    first_row = json.loads((tmp_path / "deep" / "report.json").read_text())["rows"][0]
    assert first_row["score"]["n"] == 3
    assert first_row["score"]["low"] <= first_row["score"]["value"] <= first_row["score"]["high"]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "is no JSON"),
        ("[]", "no report of a bench"),
        ('{"format": 1}', "no report of a bench"),
        ('{"format": 2, "contestant": "a", "about": {}, "results": []}', "report of format 2"),
        ('{"format": 1, "contestant": "a", "about": {}, "results": [{}]}', "damaged"),
        ('{"format": 1, "contestant": "a", "about": [], "results": []}', "damaged"),
    ],
)
def test_what_is_no_report_is_named(tmp_path: Path, text: str, sentence: str) -> None:
    path = tmp_path / "r.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=sentence) as error:
        load(path)
    assert str(path) in str(error.value)
    with pytest.raises(ValueError, match="cannot read"):
        load(tmp_path / "nothing.json")


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=200) | st.recursive(st.none() | st.integers() | st.text(), st.lists).map(json.dumps))
def test_whatever_a_report_holds_the_answer_is_a_sentence(tmp_path: Path, content: bytes | str) -> None:
    path = tmp_path / "r.json"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(ValueError, match=re.escape(str(path))):
        load(path)


# --- comparing -------------------------------------------------------------------------------------------------------


def test_the_same_scenes_are_paired() -> None:
    first, second = report(results([1, 0, 0, 1])), report(results([1, 1, 0.5, 0, 1]))
    (found,) = compare(first, second)
    assert (found.first.value, found.second.value) == (0.5, 0.625)  # the second's fifth scene is not the first's
    assert found.difference == mean([0, 1, 0.5, -1])
    assert (found.better, found.worse) == (2, 1)


def test_a_report_does_not_differ_from_itself() -> None:
    found = report(results([1, 0, 0.5]), results([1, 1], split="speed"))
    for one in compare(found, found):
        assert (one.difference.value, one.difference.low, one.difference.high) == (0, 0, 0)
        assert one.better == one.worse == 0
    assert [one.split for one in compare(found, found)] == ["in distribution", "speed"]


def test_other_scenes_under_the_same_number_are_not_compared(tmp_path: Path) -> None:
    first = report(results([1, 0]))
    second = report([replace(one, scene="another version") for one in first.results])
    with pytest.raises(ValueError, match="no scene in common"):
        compare(first, second)
    save_differences(tmp_path / "d.json", first, first, compare(first, first))
    assert json.loads((tmp_path / "d.json").read_text())["differences"][0]["difference"]["n"] == 2


# --- the page --------------------------------------------------------------------------------------------------------


class Links(HTMLParser):
    """Everything that a page refers to, and how its elements are nested."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self.open: list[str] = []
        self.tags: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.found += [value or "" for name, value in attrs if name in ("src", "href", "data", "action")]
        if tag not in ("meta", "img", "path", "rect", "polyline"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in ("path", "rect", "polyline"):
            assert self.open.pop() == tag


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Report]:
    """The page of a real run, in which one clip is damaged and the words are an attack."""
    folder = tmp_path_factory.mktemp("page")
    suite = Tiny()
    entries = [Entry(suite, split, n) for split in suite.splits for n in range(2)]
    contestants = [maker("model", "", lambda task: task.truth.rgb[::-1].copy(), folder), *baselines(folder, range(3))]
    found = Report("model", {"model": "<b>nano</b>", "settings": {"steps": 2}}, tuple(run(entries, contestants)))
    attack = [replace(one, prompt="<script>alert(1)</script>") for one in found.results]
    (folder / "model" / "tiny-count-0001.mp4").write_bytes(b"no video")
    files: dict[str, Contestant] = {contestant.name: contestant for contestant in contestants}

    def clip(name: str, result: Result) -> Path:
        return files[name].file(Entry(suite, "count" if result.split == "count" else "in distribution", result.number))

    page.save(replace(found, results=tuple(attack)), folder / "report.html", clip)
    return (folder / "report.html").read_text(encoding="utf-8"), found


def test_the_page_needs_nothing_else(written: tuple[str, Report]) -> None:
    text, _ = written
    links = Links()
    links.feed(text)
    assert not links.open
    assert links.found
    assert all(link.startswith("data:") for link in links.found)
    assert "@import" not in text
    assert "url(" not in text


def test_the_page_holds_everybody_and_no_code_of_others(written: tuple[str, Report]) -> None:
    text, found = written
    assert all(f">{row.contestant}<" in text for row in found.rows)
    assert "<script" not in text
    assert "&lt;script&gt;" in text
    assert "&lt;b&gt;nano" in text


def test_clips_move_beside_the_truth(written: tuple[str, Report]) -> None:
    text, found = written
    pictures = re.findall(r"data:image/webp;base64,([^\"]+)", text)
    assert len(pictures) == len(found.own)
    for data in pictures:
        with Image.open(io.BytesIO(base64.b64decode(data))) as picture:
            assert picture.n_frames == 9
            assert picture.size == (2 * 192 + page._GAP, 128 + page._BAR)


def test_the_worst_come_first(written: tuple[str, Report]) -> None:
    text, found = written
    captions = re.findall(r"<figcaption>(.*?): (\d+)%", text)
    shares = [int(share) for _, share in captions]
    assert shares == sorted(shares)
    assert len(captions) == len(found.own)
