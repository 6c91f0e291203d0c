"""Checkpoints on a real disk: saved, loaded, replaced, damaged, foreign, of the future; the hub by its real client."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from muybridge.storage.checkpoint import FORMAT, bundled, load, load_into, load_tensors, save, save_tensors
from muybridge.storage.pipelines import INDEX, find

CONFIG = {"kind": "muybridge.model", "transformer": {"depth": 2, "width": 8, "name": "näno"}}


def weights(seed: int = 0) -> dict[str, dict[str, Tensor]]:
    draw = torch.Generator().manual_seed(seed)
    return {
        "transformer": {"w": torch.randn(3, 4, generator=draw), "b": torch.randn(3, generator=draw).bfloat16()},
        "tokenizer": {"steps": torch.tensor(7), "mask": torch.tensor([True, False]), "none": torch.zeros(0, 4)},
    }


def stored(folder: Path, seed: int = 0) -> Path:
    save(folder, CONFIG, weights(seed), "# A model\n\nTrained in a test. é\n", {"tokenizer.json": '{"é": 1}'})
    return folder


def test_what_is_saved_is_loaded(tmp_path: Path) -> None:
    checkpoint = load(stored(tmp_path / "runs" / "a"))
    assert checkpoint.config == CONFIG
    assert checkpoint.card == "# A model\n\nTrained in a test. é\n"
    assert checkpoint.files == {"tokenizer.json": '{"é": 1}'}
    assert set(checkpoint.tensors) == {"transformer", "tokenizer"}
    for part, tensors in weights().items():
        assert checkpoint.tensors[part].keys() == tensors.keys()
        for name, tensor in tensors.items():
            assert torch.equal(checkpoint.tensors[part][name], tensor)
            assert checkpoint.tensors[part][name].dtype == tensor.dtype
    assert json.loads((tmp_path / "runs/a/config.json").read_text())["format"] == FORMAT
    assert os.listdir(tmp_path / "runs") == ["a"]


def test_the_digest_is_of_what_the_model_does(tmp_path: Path) -> None:
    one, same = load(stored(tmp_path / "a")), load(stored(tmp_path / "b"))
    assert one.digest == same.digest
    assert len(one.digest) == 64
    assert one.model_hash == one.digest[:12]
    assert load(stored(tmp_path / "c", seed=1)).digest != one.digest
    (tmp_path / "b" / "README.md").write_text("a better card")
    assert load(tmp_path / "b").digest == one.digest
    (tmp_path / "b" / "tokenizer.json").write_text("{}")
    assert load(tmp_path / "b").digest != one.digest


def test_a_checkpoint_is_replaced_as_a_whole(tmp_path: Path) -> None:
    stored(tmp_path / "a")
    save(tmp_path / "a", CONFIG, {"transformer": {"w": torch.ones(1)}}, "new")
    checkpoint = load(tmp_path / "a")
    assert list(checkpoint.tensors) == ["transformer"]
    assert checkpoint.files == {}
    assert os.listdir(tmp_path) == ["a"]


def test_only_checkpoints_are_replaced(tmp_path: Path) -> None:
    for name, other in {"foreign": "thesis.tex", "mixed": "notes.txt"}.items():
        folder = tmp_path / name
        if name == "mixed":
            stored(folder)
        folder.mkdir(exist_ok=True)
        (folder / other).write_text("precious")
        with pytest.raises(ValueError, match=r"will not replace .*: it holds other things"):
            stored(folder)
        assert (folder / other).read_text() == "precious"


def test_what_breaks_while_saving_leaves_the_old_one(tmp_path: Path) -> None:
    before = load(stored(tmp_path / "a")).digest

    class Interrupting(dict[str, Tensor]):
        def items(self) -> object:  # type: ignore[override]
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        save(tmp_path / "a", CONFIG, {"aa": weights()["transformer"], "bb": Interrupting()}, "new")
    assert load(tmp_path / "a").digest == before
    assert os.listdir(tmp_path) == ["a"]
    with pytest.raises(ValueError, match=r"Out of range float"):
        save(tmp_path / "a", {"kind": "muybridge.model", "nan": float("nan")}, weights(), "new")
    assert load(tmp_path / "a").digest == before


def edited(folder: Path, **changes: object) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, **changes}))


def test_broken_and_foreign_checkpoints(tmp_path: Path) -> None:
    cases = {
        "cut": ("transformer.safetensors is damaged or cut off", lambda f: cut(f / "transformer.safetensors", -10)),
        "short": ("transformer.safetensors is damaged", lambda f: cut(f / "transformer.safetensors", 5)),
        "garbled": (
            "transformer.safetensors is damaged",
            lambda f: (f / "transformer.safetensors").write_text("x" * 99),
        ),
        "bare": (r"has no \*\.safetensors files: copy or download", lambda f: [p.unlink() for p in f.glob("*.safe*")]),
        "headless": ("has no config.json: give a folder", lambda f: (f / "config.json").unlink()),
        "torn": (r"config\.json is damaged \(.*\): copy or download", lambda f: cut(f / "config.json", -5)),
        "binary": (r"config\.json is damaged", lambda f: (f / "config.json").write_bytes(b"\xff\xfe\xff")),
        "list": ("of another program", lambda f: (f / "config.json").write_text("[]")),
        "newer": ("of a newer format 99, .* reads up to 1: update with `pip install", lambda f: edited(f, format=99)),
        "unversioned": ("no readable format number", lambda f: edited(f, format="one")),
        "transformers": ("of another program: give a folder", lambda f: edited(f, kind=None, model_type="t5")),
        "diffusers": ("is a diffusers pipeline", lambda f: (f / "model_index.json").write_text("{}")),
    }
    for name, (sentence, damage) in cases.items():
        damage(stored(tmp_path / name))
        with pytest.raises(ValueError, match=sentence):
            load(tmp_path / name)


def cut(file: Path, at: int) -> None:
    file.write_bytes(file.read_bytes()[:at])


def test_names_that_lead_nowhere(tmp_path: Path) -> None:
    file = tmp_path / "a.safetensors"
    save_tensors(file, {})
    with pytest.raises(ValueError, match="is a file, and a checkpoint is a folder"):
        load(file)
    for name in ("no-such-model", str(tmp_path / "none"), "a/b/c", "💥", "x" * 5000):
        with pytest.raises(
            ValueError, match=r"there is no checkpoint .*: give a folder, a bundled name \(.*\), or org/"
        ):
            load(name)


@pytest.mark.parametrize("name", bundled())
def test_what_is_bundled_loads(name: str) -> None:
    assert load(name).tensors


@pytest.mark.parametrize("name", bundled()[:1])
def test_a_folder_does_not_hide_what_is_bundled(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stored(tmp_path / name)
    monkeypatch.chdir(tmp_path)
    assert load(name).folder.parent.name == "weights"
    assert load(f"./{name}").folder == load(Path(name)).folder == tmp_path / name
    (tmp_path / name / INDEX).write_text("{}")
    assert find(name) is None


HUB = """
import sys
from muybridge.storage.checkpoint import load
for name in sys.argv[1:]:
    try:
        print(load(name).model_hash)
    except ValueError as error:
        print(error)
"""


def test_the_hub_out_of_reach(tmp_path: Path) -> None:
    """What was fetched before loads by its name (the cache is laid out as the hub's client does); the rest is refused.

    In a process of its own: the client reads its settings once, when it is imported.
    """
    model = tmp_path / "hub" / "models--someone--tabletop"
    commit = "0123456789abcdef0123456789abcdef01234567"
    stored(model / "snapshots" / commit)
    (model / "refs").mkdir()
    (model / "refs" / "main").write_text(commit)
    environment = {**os.environ, "HF_HOME": str(tmp_path), "HF_ENDPOINT": "http://127.0.0.1:9"}
    program = [sys.executable, "-c", HUB, "someone/tabletop", "someone/else"]
    fetched, refused = subprocess.check_output(program, env=environment, text=True).splitlines()
    assert fetched == load(model / "snapshots" / commit).model_hash
    assert refused.startswith("cannot fetch someone/else: there is no such folder here, and the hub cannot be reached")


def test_tensors_and_texts_in_one_file(tmp_path: Path) -> None:
    path = tmp_path / "shards" / "a.safetensors"
    meta = {f"key {i}": f"text {i} 😀\n" for i in range(20)}
    save_tensors(path, weights()["transformer"], meta)
    tensors, back = load_tensors(path)
    assert back == meta
    assert all(torch.equal(tensors[name], tensor) for name, tensor in weights()["transformer"].items())
    content = path.read_bytes()
    save_tensors(path, weights()["transformer"], dict(reversed(meta.items())))
    assert path.read_bytes() == content
    with pytest.raises(ValueError, match="there is no file"):
        load_tensors(tmp_path / "none.safetensors")
    cut(path, -1)
    with pytest.raises(ValueError, match="is damaged or cut off"):
        load_tensors(path)


def test_tied_weights_and_views_are_saved_apart(tmp_path: Path) -> None:
    whole = torch.arange(12.0).reshape(3, 4)
    views = {"whole": whole, "tied": whole, "row": whole[1], "turned": whole.T, "grad": nn.Parameter(whole)}
    save_tensors(tmp_path / "a.safetensors", views)
    back, _ = load_tensors(tmp_path / "a.safetensors")
    assert all(torch.equal(back[name], tensor) for name, tensor in views.items())


def test_files_of_other_programs_keep_their_texts(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    save_file({"a": torch.ones(2)}, tmp_path / "a.safetensors", {"format": "pt"})
    assert load_tensors(tmp_path / "a.safetensors")[1] == {"format": "pt"}


def test_weights_that_fit_and_weights_that_do_not() -> None:
    module, other = nn.Linear(3, 2), nn.Linear(3, 2)
    load_into(module, other.state_dict(), "the head")
    assert torch.equal(module.weight, other.weight)
    before = module.weight.clone()
    with pytest.raises(ValueError, match=r"do not fit the head: bias missing; a, b, c and 2 more unexpected: build"):
        load_into(module, {"weight": torch.zeros(2, 3), **dict.fromkeys("abcde", torch.zeros(1))}, "the head")
    with pytest.raises(ValueError, match=r"weight \(\(3, 2\) in the file, \(2, 3\) in the model\) of another shape"):
        load_into(module, {"weight": torch.zeros(3, 2), "bias": torch.zeros(2)}, "the head")
    assert torch.equal(module.weight, before)
