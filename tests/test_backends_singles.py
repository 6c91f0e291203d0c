"""Single files in the layouts of their makers: the clips of diffusers' folders, and clear words for the rest."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import tiny_pipelines as tiny
import torch
from safetensors.torch import save_file
from test_backends_families import condition

import muybridge
from muybridge import cli
from muybridge.backends.model import OpenModel
from muybridge.backends.singles import BASES, base_of
from muybridge.commands.given import Given
from muybridge.storage.singles import MAKES, SingleFile, read_single

pytest.importorskip("diffusers")
pytestmark = pytest.mark.filterwarnings("ignore")

WAN = {
    r"condition_embedder\.time_embedder\.linear_1": "time_embedding.0",
    r"condition_embedder\.time_embedder\.linear_2": "time_embedding.2",
    r"condition_embedder\.text_embedder\.linear_1": "text_embedding.0",
    r"condition_embedder\.text_embedder\.linear_2": "text_embedding.2",
    r"condition_embedder\.time_proj": "time_projection.1",
    r"^scale_shift_table": "head.modulation",
    r"scale_shift_table": "modulation",
    r"^proj_out": "head.head",
    r"vace_blocks\.(\d+)\.proj_out": r"vace_blocks.\1.after_proj",
    r"vace_blocks\.(\d+)\.proj_in": r"vace_blocks.\1.before_proj",
    r"attn1\.": "self_attn.",
    r"attn2\.": "cross_attn.",
    r"\.to_([qkv])\.": r".\1.",
    r"\.to_out\.0": ".o",
    r"ffn\.net\.0\.proj": "ffn.0",
    r"ffn\.net\.2": "ffn.2",
    r"\.norm2\.": ".norm3.",
}
"""Diffusers' names -> those of the files that Wan's makers published."""

LTX = {"proj_in": "patchify_proj", "time_embed": "adaln_single", "norm_q": "q_norm", "norm_k": "k_norm"}
LTX_VAE = {
    r"^encoder\.mid_block": "encoder.down_blocks.9",
    r"^encoder\.down_blocks\.3": "encoder.down_blocks.8",
    r"^encoder\.down_blocks\.2\.downsamplers\.0": "encoder.down_blocks.7",
    r"^encoder\.down_blocks\.2": "encoder.down_blocks.6",
    r"^encoder\.down_blocks\.1\.downsamplers\.0": "encoder.down_blocks.4",
    r"^encoder\.down_blocks\.1": "encoder.down_blocks.3",
    r"^encoder\.down_blocks\.0\.downsamplers\.0": "encoder.down_blocks.1",
    r"^decoder\.up_blocks\.3\.upsamplers\.0": "decoder.up_blocks.8",
    r"^decoder\.up_blocks\.3": "decoder.up_blocks.9",
    r"^decoder\.up_blocks\.2\.upsamplers\.0": "decoder.up_blocks.5",
    r"^decoder\.up_blocks\.2": "decoder.up_blocks.6",
    r"^decoder\.up_blocks\.1\.upsamplers\.0": "decoder.up_blocks.2",
    r"^decoder\.up_blocks\.1": "decoder.up_blocks.3",
    r"^decoder\.up_blocks\.0": "decoder.up_blocks.1",
    r"^decoder\.mid_block": "decoder.up_blocks.0",
    r"resnets": "res_blocks",
    r"latents_mean": "per_channel_statistics.mean-of-means",
    r"latents_std": "per_channel_statistics.std-of-means",
}
"""The same of the all-in-one file of LTX-Video 0.9. Of names that begin alike the first rule that fits is taken."""


def renamed(tensors: Mapping[str, torch.Tensor], rules: Mapping[str, str], prefix: str, once: bool) -> dict[str, Any]:
    """`once`: of the rules that begin at the beginning, the first is the only one."""
    made = {}
    for name, value in tensors.items():
        new, placed = name, False
        for pattern, with_ in rules.items():
            if once and placed and pattern.startswith("^"):
                continue
            changed = re.sub(pattern, with_, new)
            new, placed = changed, placed or (changed != new and pattern.startswith("^"))
        made[prefix + new] = value.contiguous()
    return made


def written(pipe: Any, folder: Path, file: Path, tensors: Mapping[str, torch.Tensor], without: tuple[str, ...]) -> None:
    """The pipeline as a folder that lacks the weights which the file has."""
    pipe.save_pretrained(folder)
    for part in without:
        for weights in (folder / part).glob("*.safetensors"):
            weights.unlink()
    save_file(dict(tensors), file)


def clip(model: muybridge.Model, task: muybridge.Condition) -> torch.Tensor:
    return model.generate(task, 3, muybridge.Settings(2, "own", 5.0, preview_every=0))[0].video.frames


@pytest.fixture(scope="module")
def wan(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A whole folder, and a copy without its transformer, beside a file that is it."""
    home = tmp_path_factory.mktemp("singles")
    pipe = tiny.wan()
    pipe.save_pretrained(home / "whole")
    tensors = renamed(pipe.transformer.state_dict(), WAN, "model.diffusion_model.", False)
    written(pipe, home / "base", home / "wan.safetensors", tensors, ("transformer",))
    return home / "whole", home / "wan.safetensors"


def test_a_wan_of_its_makers_makes_the_same_clip(wan: tuple[Path, Path], tmp_path: Path) -> None:
    whole, file = wan
    task = condition("Wan", "negative")
    opened = muybridge.load(file, "cpu", base=file.with_name("base"))
    assert isinstance(opened, OpenModel)
    wanted = clip(muybridge.load(whole, "cpu"), task)
    assert (clip(opened, task) - wanted).abs().max() < 1e-5
    plain = tmp_path / "plain.safetensors"  # diffusers' own layout, in halves
    save_file({name: value.half() for name, value in tiny.wan().transformer.state_dict().items()}, plain)
    other = muybridge.load(plain, "cpu", base=file.with_name("base"))
    assert torch.allclose(clip(other, task), wanted, atol=0.1)
    assert other.hash != opened.hash


def test_what_a_single_file_takes_is_told_before_it_is_read(
    wan: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    whole, file = wan
    base = str(file.with_name("base"))
    assert cli.obey(["models", "check", str(whole)]) == 0
    wanted = capsys.readouterr().out.splitlines()
    assert cli.obey(["models", "check", str(file), "--base", base]) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[0] == f"{file}: Wan 2.1 and 2.2, WanPipeline"
    assert said[1:] == wanted[1:]
    assert cli.obey(["models", "check", str(file), "--base", str(file.parent)]) == 2
    assert "no pipeline of diffusers" in capsys.readouterr().err
    assert cli.obey(["models", "check", str(whole), "--base", base]) == 2
    assert "leave it out" in capsys.readouterr().err


def test_vace_and_all_of_ltx_in_one_file(tmp_path: Path) -> None:
    vace = tiny.wan_vace()
    tensors = renamed(vace.transformer.state_dict(), WAN, "", False)
    written(vace, tmp_path / "vace", tmp_path / "vace.safetensors", tensors, ("transformer",))
    opened = muybridge.load(tmp_path / "vace.safetensors", "cpu", base=tmp_path / "vace")
    assert isinstance(opened, OpenModel)
    for name, value in vace.transformer.state_dict().items():
        assert torch.equal(opened.pipeline.pipe.transformer.state_dict()[name], value), name

    ltx = tiny.ltx()
    tensors = renamed(ltx.transformer.state_dict(), LTX, "model.diffusion_model.", False)
    tensors |= renamed(ltx.vae.state_dict(), LTX_VAE, "vae.", True)
    ltx.save_pretrained(tmp_path / "whole")
    written(ltx, tmp_path / "ltx", tmp_path / "ltx.safetensors", tensors, ("transformer", "vae"))
    task = condition("LTX", "image")
    opened = muybridge.load(tmp_path / "ltx.safetensors", "cpu", base=tmp_path / "ltx")
    assert (clip(opened, task) - clip(muybridge.load(tmp_path / "whole", "cpu"), task)).abs().max() < 1e-5


def test_two_transformers_lie_side_by_side(tmp_path: Path) -> None:
    """Wan 2.2 A14B: one for strong noise, one for the rest. Either file is given."""
    from diffusers import WanPipeline

    strong, weak = tiny.wan_transformer(), tiny.wan_transformer(ffn_dim=24)
    pipe = WanPipeline(**tiny.wan_parts(strong, transformer_2=weak), boundary_ratio=0.875)
    pipe.save_pretrained(tmp_path / "whole")
    low = tmp_path / "wan_Low_noise.safetensors"
    tensors = renamed(strong.state_dict(), WAN, "", False)
    written(pipe, tmp_path / "base", tmp_path / "wan_High_noise.safetensors", tensors, ("transformer", "transformer_2"))
    with pytest.raises(ValueError, match=r"wan_Low_noise\.safetensors is not beside it"):
        muybridge.load(tmp_path / "wan_High_noise.safetensors", "cpu", base=tmp_path / "base")
    save_file(renamed(weak.state_dict(), WAN, "model.diffusion_model.", False), low)
    task, wanted = condition("Wan", ""), muybridge.load(tmp_path / "whole", "cpu")
    made = muybridge.load(low, "cpu", base=tmp_path / "base")
    assert (clip(made, task) - clip(wanted, task)).abs().max() < 1e-5
    save_file(tensors, tmp_path / "one.safetensors")
    with pytest.raises(ValueError, match="has two transformers: call their files alike"):
        muybridge.load(tmp_path / "one.safetensors", "cpu", base=tmp_path / "whole")


def test_float8_weights_are_read_at_their_scales(wan: tuple[Path, Path], tmp_path: Path) -> None:
    """As ComfyUI writes them: weight = float8 * scale, beside what its arithmetic wants to know."""
    tensors = renamed(tiny.wan().transformer.state_dict(), WAN, "", False)
    narrow, rounded = dict(tensors), dict(tensors)
    for name in [name for name in tensors if re.search(r"(attn\.[qkvo]|ffn\.[02])\.weight$", name)]:
        scale = tensors[name].abs().max() / 448
        narrow[name] = (tensors[name] / scale).to(torch.float8_e4m3fn)
        rounded[name] = narrow[name].float() * scale
        narrow[name.removesuffix("weight") + "scale_weight"] = scale
        narrow[name.removesuffix("weight") + "scale_input"] = torch.ones(())
    save_file({**narrow, "scaled_fp8": torch.zeros(2).to(torch.float8_e4m3fn)}, tmp_path / "narrow.safetensors")
    save_file(rounded, tmp_path / "rounded.safetensors")
    one, other = (
        muybridge.load(tmp_path / f"{name}.safetensors", "cpu", base=wan[1].with_name("base"))
        for name in ("narrow", "rounded")
    )
    assert isinstance(one, OpenModel)
    assert isinstance(other, OpenModel)
    for pair in zip(*(model.pipeline.pipe.transformer.state_dict().values() for model in (one, other)), strict=True):
        assert torch.equal(*pair)


def test_what_loses_too_much_in_halves_stays_exact(wan: tuple[Path, Path]) -> None:
    """Layer by layer as diffusers does it with folders."""
    whole, file = wan
    pair = (
        muybridge.load(file, "cpu", torch.bfloat16, base=file.with_name("base")),
        muybridge.load(whole, "cpu", torch.bfloat16),
    )
    one, other = (
        {name: value.dtype for name, value in model.pipeline.pipe.transformer.state_dict().items()}
        for model in pair
        if isinstance(model, OpenModel)
    )
    assert one == other
    assert {*one.values()} == {torch.bfloat16, torch.float32}


def test_what_is_in_a_file_is_told_by_its_header(wan: tuple[Path, Path]) -> None:
    single = read_single(wan[1])
    assert (single.make.network, single.width, single.channels, single.has_vae) == (
        "WanTransformer3DModel",
        24,
        16,
        False,
    )
    makes = {make.network: make for make in MAKES}
    for (network, width, channels), name in BASES.items():
        make = makes[network]
        known = SingleFile(Path("x"), {f"p.{make.first[0]}": (width, channels, 1, 2, 2)}, make, "p.")
        assert base_of({"transformer": known}) == name
    two = SingleFile(Path("x"), {"patch_embedding.weight": (5120, 36, 1, 2, 2), "img_emb.emb_pos": (1,)}, MAKES[1], "")
    assert base_of({"transformer": two}) == "Wan-AI/Wan2.1-FLF2V-14B-720P-diffusers"
    with pytest.raises(ValueError, match="of width 24 and 16 channels, and no model with that shape is known here"):
        muybridge.load(wan[1], "cpu")


def test_wrong_files_are_told_in_a_sentence(wan: tuple[Path, Path], tmp_path: Path) -> None:
    whole, file = wan

    def refused(content: Mapping[str, torch.Tensor], base: Path = whole) -> str:
        save_file(dict(content), tmp_path / "x.safetensors")
        with pytest.raises(ValueError) as said:  # noqa: PT011 (what it says is what is tested)
            muybridge.load(tmp_path / "x.safetensors", "cpu", base=base)
        assert "\n" not in str(said.value)
        return str(said.value)

    one = torch.zeros(1)
    assert "is a LoRA, which changes a model and is none" in refused({"blocks.0.self_attn.q.lora_A.weight": one})
    assert "are I8: take a file of floats" in refused({"blocks.0.self_attn.q.weight": one.to(torch.int8)})
    assert "is the autoencoder of a Wan" in refused({"decoder.middle.0.residual.0.gamma": one})
    assert "holds no transformer that is known" in refused({"weight": one})
    tensors = renamed(tiny.wan().transformer.state_dict(), WAN, "", False)
    assert "lacks layers that" in refused({k: v for k, v in tensors.items() if k != "blocks.1.ffn.2.bias"})
    assert "holds 70 tensors, that of" in refused({**tensors, "img_emb.emb_pos": one})
    wider = tiny.wan_transformer(num_attention_heads=4)
    assert "is not that of" in refused(renamed(wider.state_dict(), WAN, "", False))
    tiny.wan_vace().save_pretrained(tmp_path / "vace")
    assert "of {} has a WanVACETransformer3DModel".format(tmp_path / "vace") in refused(tensors, tmp_path / "vace")
    (tmp_path / "x.pt").write_bytes(b"")
    with pytest.raises(ValueError, match="is pickled, and a pickled file can run any program"):
        muybridge.load(tmp_path / "x.pt", "cpu")
    with pytest.raises(ValueError, match="is whole: leave it out"):
        muybridge.load(whole, "cpu", base=whole)
    (tmp_path / "cut.safetensors").write_bytes(file.read_bytes()[:1000])
    with pytest.raises(ValueError, match="is damaged or cut off"):
        muybridge.load(tmp_path / "cut.safetensors", "cpu", base=whole)


def test_a_clip_says_where_the_rest_was() -> None:
    assert json.loads(Given(base="Wan-AI/Wan2.1-T2V-1.3B-Diffusers").options()) == [
        "--base",
        "Wan-AI/Wan2.1-T2V-1.3B-Diffusers",
    ]
