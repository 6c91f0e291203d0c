"""Open-Sora 2.0: layers named and shaped as published, and a forward that agrees with one written out anew."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor

from muybridge.backends.open_sora import OpenSora, OpenSoraConfig, config_of, load_open_sora

TINY = OpenSoraConfig(channels=4, width=64, heads=2, double=2, single=2, words=12, gist=10)


def published(c: OpenSoraConfig) -> dict[str, tuple[int, ...]]:
    """Names and shapes of the file, after the configuration of hpcaitech/Open-Sora 2.0."""
    d, hidden, places = c.width, c.width * c.expansion, c.channels * 4
    found: dict[str, tuple[int, ...]] = {}

    def linear(name: str, out: int, into: int) -> None:
        found[f"{name}.weight"], found[f"{name}.bias"] = (out, into), (out,)

    linear("img_in", d, places)
    linear("cond_in", d, places + 4)
    linear("txt_in", d, c.words)
    for name, features in (("time_in", 256), ("vector_in", c.gist)):
        linear(f"{name}.in_layer", d, features)
        linear(f"{name}.out_layer", d, d)
    for i in range(c.double):
        for stream in ("img", "txt"):
            block = f"double_blocks.{i}.{stream}"
            linear(f"{block}_mod.lin", 6 * d, d)
            for part in ("q_proj", "k_proj", "v_proj", "proj"):
                linear(f"{block}_attn.{part}", d, d)
            for part in ("query_norm", "key_norm"):
                found[f"{block}_attn.norm.{part}.scale"] = (d // c.heads,)
            linear(f"{block}_mlp.0", hidden, d)
            linear(f"{block}_mlp.2", d, hidden)
    for i in range(c.single):
        block = f"single_blocks.{i}"
        linear(f"{block}.modulation.lin", 3 * d, d)
        linear(f"{block}.q_proj", d, d)
        linear(f"{block}.k_proj", d, d)
        linear(f"{block}.v_mlp", d + hidden, d)
        linear(f"{block}.linear2", d, d + hidden)
        for part in ("query_norm", "key_norm"):
            found[f"{block}.norm.{part}.scale"] = (d // c.heads,)
    linear("final_layer.linear", places, d)
    linear("final_layer.adaLN_modulation.1", 2 * d, d)
    return found


def drawn(config: OpenSoraConfig) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return {
        name: torch.randn(shape, generator=generator) / math.sqrt(shape[-1] if len(shape) > 1 else 4)
        for name, shape in published(config).items()
    }


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("open-sora") / "tiny.safetensors"
    save_file(drawn(TINY), path)
    return path


def test_its_full_shape_is_the_published_one() -> None:
    with torch.device("meta"):
        shapes = {name: tuple(value.shape) for name, value in OpenSora(OpenSoraConfig()).state_dict().items()}
    assert shapes == published(OpenSoraConfig())
    assert config_of(shapes) == OpenSoraConfig()
    assert OpenSoraConfig().axes == (16, 56, 56)
    assert round(sum(map(math.prod, shapes.values())) / 1e9, 1) == 11.9


def test_the_forward_written_out_anew_agrees(file: Path) -> None:
    """Token by token, with complex numbers for rotations and a softmax for attention, from the file's names alone."""
    model, w = load_open_sora(file, dtype=torch.float32), drawn(TINY)
    assert model.config == TINY
    draw = torch.Generator().manual_seed(1)
    latent = torch.randn(2, 3, 4, 4, 6, generator=draw)
    words, gist = torch.randn(2, 5, 12, generator=draw), torch.randn(2, 10, generator=draw)
    known, is_known = torch.randn(2, 3, 4, 4, 6, generator=draw), torch.tensor([[True, False, False]] * 2)
    level = torch.tensor([0.3, 0.9])

    def layer(name: str, x: Tensor) -> Tensor:
        return x @ w[f"{name}.weight"].T + w[f"{name}.bias"]

    def silu(x: Tensor) -> Tensor:
        return x * torch.sigmoid(x)

    def norm(x: Tensor) -> Tensor:
        return (x - x.mean(-1, keepdim=True)) / (x.var(-1, keepdim=True, unbiased=False) + 1e-6).sqrt()

    def heads(x: Tensor, scale: Tensor | None, turn: Tensor | None) -> Tensor:
        x = x.view(*x.shape[:2], 2, 32)
        if scale is not None and turn is not None:
            x = x / (x.square().mean(-1, keepdim=True) + 1e-6).sqrt() * scale
            spun = torch.complex(x[..., :16], x[..., 16:]) * turn[:, None]
            x = torch.cat([spun.real, spun.imag], dim=-1)
        return x

    def attended(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        weights = torch.einsum("bmke,bnke->bkmn", q, k).div(math.sqrt(32)).softmax(-1)
        return torch.einsum("bkmn,bnke->bmke", weights, v).flatten(2)

    places = [(0, 0, 0)] * 5 + [(t, y, x) for t in range(3) for y in range(2) for x in range(3)]
    turn = torch.tensor(
        [
            [
                at * 10000 ** (-2 * i / share)
                for at, share in zip(place, (4, 14, 14), strict=True)
                for i in range(share // 2)
            ]
            for place in places
        ]
    )
    turn = torch.exp(1j * turn)

    def patches(x: Tensor) -> Tensor:
        rows = [
            x[:, t, :, 2 * y : 2 * y + 2, 2 * z : 2 * z + 2].flatten(1)
            for t in range(3)
            for y in range(2)
            for z in range(3)
        ]
        return torch.stack(rows, dim=1)

    here = is_known[:, :, None, None, None].float().expand(-1, -1, 1, 4, 6)
    angle = 1000 * level[:, None] * 10000 ** (-torch.arange(128) / 128)
    times = torch.cat([angle.cos(), angle.sin()], dim=-1)
    told = layer("time_in.out_layer", silu(layer("time_in.in_layer", times)))
    told = told + layer("vector_in.out_layer", silu(layer("vector_in.in_layer", gist)))
    frames = layer("img_in", patches(latent)) + layer("cond_in", patches(torch.cat([here, known * here], dim=2)))
    text = layer("txt_in", words)
    for i in range(2):
        streams, mods, read = {"txt": text, "img": frames}, {}, []
        for name, x in streams.items():
            block = f"double_blocks.{i}.{name}"
            mods[name] = layer(f"{block}_mod.lin", silu(told))[:, None].chunk(6, dim=-1)
            y = norm(x) * (1 + mods[name][1]) + mods[name][0]
            part = turn[:5] if name == "txt" else turn[5:]
            read.append(
                [
                    heads(layer(f"{block}_attn.q_proj", y), w[f"{block}_attn.norm.query_norm.scale"], part),
                    heads(layer(f"{block}_attn.k_proj", y), w[f"{block}_attn.norm.key_norm.scale"], part),
                    heads(layer(f"{block}_attn.v_proj", y), None, None),
                ]
            )
        out = attended(*(torch.cat(pair, dim=1) for pair in zip(*read, strict=True)))
        for name, seen in (("txt", out[:, :5]), ("img", out[:, 5:])):
            block, mod = f"double_blocks.{i}.{name}", mods[name]
            x = streams[name] + mod[2] * layer(f"{block}_attn.proj", seen)
            y = norm(x) * (1 + mod[4]) + mod[3]
            hidden = F.gelu(layer(f"{block}_mlp.0", y), approximate="tanh")
            streams[name] = x + mod[5] * layer(f"{block}_mlp.2", hidden)
        text, frames = streams["txt"], streams["img"]
    both = torch.cat([text, frames], dim=1)
    for i in range(2):
        block = f"single_blocks.{i}"
        shift, scale, gate = layer(f"{block}.modulation.lin", silu(told))[:, None].chunk(3, dim=-1)
        y = norm(both) * (1 + scale) + shift
        wide = layer(f"{block}.v_mlp", y)
        out = attended(
            heads(layer(f"{block}.q_proj", y), w[f"{block}.norm.query_norm.scale"], turn),
            heads(layer(f"{block}.k_proj", y), w[f"{block}.norm.key_norm.scale"], turn),
            heads(wide[..., :64], None, None),
        )
        both = both + gate * layer(f"{block}.linear2", torch.cat([out, F.gelu(wide[..., 64:], approximate="tanh")], -1))
    shift, scale = layer("final_layer.adaLN_modulation.1", silu(told))[:, None].chunk(2, dim=-1)
    wanted = layer("final_layer.linear", norm(both[:, 5:]) * (1 + scale) + shift)

    found = model(latent, level, words, gist, known, is_known)
    assert torch.allclose(patches(found), wanted, atol=1e-4, rtol=1e-4)
    assert not torch.allclose(found, model(latent, level, words, gist))  # what is known is read
    nothing = torch.zeros(2, 3, dtype=torch.bool)
    assert torch.equal(model(latent, level, words, gist), model(latent, level, words, gist, known, nothing))


def test_other_files_are_told_in_a_sentence(file: Path, tmp_path: Path) -> None:
    tensors = drawn(TINY)

    def refused(content: dict[str, Tensor]) -> str:
        save_file(content, tmp_path / "x.safetensors")
        with pytest.raises(ValueError) as said:  # noqa: PT011 (what it says is what is tested)
            load_open_sora(tmp_path / "x.safetensors")
        return str(said.value)

    assert "holds no transformer of Open-Sora 2.0 ('img_in.weight')" in refused({"weight": torch.zeros(1)})
    assert "which is an earlier layout" in refused({**tensors, "double_blocks.0.img_attn.qkv.weight": torch.zeros(1)})
    short = {name: value for name, value in tensors.items() if name != "single_blocks.1.linear2.bias"}
    assert "single_blocks.1.linear2.bias missing" in refused(short)
