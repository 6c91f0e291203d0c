"""The families of open models, as a table: their pipelines, what each takes of a Condition and how it is called.

What the numbers rest on: frames, sizes and sampling are the defaults of the pipelines in diffusers 0.42; licences are a
summary of what the publishers' model cards said in November 2026, and the card of the checkpoint at hand decides.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from muybridge.backends.binding import (
    Bind,
    always,
    camera,
    control,
    film,
    first,
    last,
    ltx2_conditions,
    ltx_conditions,
    opening,
    together,
    vace,
)
from muybridge.types import GIVEN, Condition

WORDS = frozenset({"prompt", "negative"})

Parts: TypeAlias = Mapping[str, Mapping[str, Any]]
"""The settings of a checkpoint's parts by name ("transformer", …); those of the pipeline itself stand under ""."""

Able: TypeAlias = Callable[[Parts], bool]


@dataclass(frozen=True)
class Way:
    """One pipeline of diffusers, and how it is called.

    pipeline  name of its class
    takes     what it can be given; names as in `types.GIVEN`
    needs     what it cannot do without
    bind      a Condition -> the arguments for what was given, beyond words, length, size and speed
    weights   other pipelines whose checkpoints this one can use as they are
    able      whether the networks of a checkpoint can do it, by their settings
    tuned     steps -> further arguments that depend on their number
    alone     it changes its networks while it runs, so no other request may have a turn meanwhile
    """

    pipeline: str
    takes: frozenset[str] = WORDS
    needs: frozenset[str] = frozenset()
    bind: Bind = field(default=always({}))
    weights: tuple[str, ...] = ()
    able: Able = field(default=lambda settings: True)
    tuned: Callable[[int], Mapping[str, Any]] = field(default=lambda steps: {})
    alone: bool = False

    def serves(self, loaded: str, settings: Parts) -> bool:
        """Whether a checkpoint of the pipeline `loaded`, with parts of these settings, can go this way."""
        return (loaded == self.pipeline or loaded in self.weights) and self.able(settings)

    def fits(self, condition: Condition) -> bool:
        """Whether it can take all that is given, and is given what it needs."""
        return self.needs <= condition.given <= self.takes


@dataclass(frozen=True)
class Family:
    """Models of one make.

    stride, first  clips have first + k * stride frames
    side      sides are multiples of it
    frames, width, height, fps, steps, guidance  what its models do best, by their makers
    licence   of the weights; commerce  what that means for selling what is made
    vae_float32  the autoencoder loses detail in half precision
    tiled     the autoencoder only decodes in tiles
    fewest    frames of its shortest clip, where that is not the first of its rule
    guides    the argument that guidance goes to; "" if a component of the pipeline (a guider) holds it
    without   why a session without a GPU or some package cannot use it, "" if it can
    """

    name: str
    ways: tuple[Way, ...]
    stride: int
    first: int
    side: int
    frames: int
    width: int
    height: int
    fps: float
    steps: int
    guidance: float
    licence: str
    commerce: str
    example: str
    vae_float32: bool = False
    tiled: bool = False
    fewest: int = 0
    guides: str = "guidance_scale"
    without: str = ""

    @property
    def takes(self) -> frozenset[str]:
        """What one or the other of its pipelines takes."""
        return frozenset().union(*(way.takes for way in self.ways))

    def frames_near(self, count: float) -> int:
        """The possible number of frames nearest to `count`."""
        fewest = max(self.fewest, self.first or self.stride)
        return max(fewest, self.first + self.stride * round((count - self.first) / self.stride))


def _takes(*names: str) -> frozenset[str]:
    return WORDS | set(names)


_IMAGE, _VIDEO, _CONTROL = frozenset({"image"}), frozenset({"video"}), frozenset({"control"})
_ENDS = frozenset({"image", "ending"})
_NVIDIA = "NVIDIA Open Model Licence"
_TENCENT = "Tencent Hunyuan Community"
_NOT_EVERYWHERE = "not in the EU, the UK and South Korea; under 100 M users a month"


def _wan_starts(parts: Parts) -> bool:
    """Channels for a still, or a time for each frame; text-to-video weights have neither."""
    pipeline, network = parts[""], parts.get("transformer") or {}
    return bool(pipeline.get("expand_timesteps")) or network.get("in_channels", 16) > network.get("out_channels", 16)


def _wan_ends(parts: Parts) -> bool:
    """Wan 2.1 reads stills through an image encoder too, which has to have learnt two; with a time for each frame the
    pipeline leaves the last one out."""
    pipeline, network = parts[""], parts.get("transformer") or {}
    reads_one = network.get("image_dim") is not None and network.get("pos_embed_seq_len") is None
    return _wan_starts(parts) and not pipeline.get("expand_timesteps") and not reads_one


FAMILIES: tuple[Family, ...] = (
    Family(
        "Wan 2.1 and 2.2",
        (
            Way("WanPipeline"),
            Way(
                "WanImageToVideoPipeline",
                _takes("image"),
                _IMAGE,
                first("image"),
                weights=("WanPipeline",),
                able=_wan_starts,
            ),
            Way(
                "WanImageToVideoPipeline",
                _takes("image", "ending"),
                _ENDS,
                together(first("image"), last("last_image")),
                able=_wan_ends,
            ),
            Way("WanVideoToVideoPipeline", _takes("video"), _VIDEO, film(), weights=("WanPipeline",)),
            Way("WanVACEPipeline", _takes("image", "opening", "ending", "video", "mask", "control"), bind=vace),
        ),
        stride=4,
        first=1,
        side=16,
        frames=81,
        width=832,
        height=480,
        fps=16,
        steps=50,
        guidance=5,
        licence="Apache-2.0",
        commerce="yes",
        example="Wan-AI/Wan2.2-TI2V-5B-Diffusers",
        vae_float32=True,
    ),
    Family(
        "LTX-Video",
        (
            Way("LTXPipeline"),
            Way("LTXImageToVideoPipeline", _takes("image"), _IMAGE, first("image"), weights=("LTXPipeline",)),
            Way(
                "LTXConditionPipeline",
                _takes("image", "opening", "ending"),
                bind=ltx_conditions,
                weights=("LTXPipeline", "LTXImageToVideoPipeline"),
            ),
        ),
        stride=8,
        first=1,
        side=32,
        frames=161,
        width=704,
        height=512,
        fps=25,
        steps=50,
        guidance=3,
        licence="LTX-Video Open Weights",
        commerce="under USD 10 M revenue a year",
        example="Lightricks/LTX-Video",
    ),
    Family(
        "LTX-2",
        (
            Way("LTX2Pipeline"),
            Way("LTX2ImageToVideoPipeline", _takes("image"), _IMAGE, first("image"), weights=("LTX2Pipeline",)),
            Way(
                "LTX2ConditionPipeline",
                _takes("image", "opening", "ending"),
                bind=ltx2_conditions,
                weights=("LTX2Pipeline", "LTX2ImageToVideoPipeline"),
            ),
        ),
        stride=8,
        first=1,
        side=32,
        frames=121,
        width=768,
        height=512,
        fps=24,
        steps=30,
        guidance=3,
        licence="LTX-2 Community",
        commerce="under USD 10 M revenue a year; marks what it makes",
        example="Lightricks/LTX-2",
    ),
    Family(
        "HunyuanVideo",
        (
            Way("HunyuanVideoPipeline", frozenset({"prompt"})),
            Way("HunyuanVideoImageToVideoPipeline", frozenset({"prompt", "image"}), _IMAGE, first("image")),
            Way("HunyuanSkyreelsImageToVideoPipeline", frozenset({"prompt", "image"}), _IMAGE, first("image")),
        ),
        stride=4,
        first=1,
        side=16,
        frames=129,
        width=1280,
        height=720,
        fps=24,
        steps=50,
        guidance=6,
        licence=_TENCENT,
        commerce=_NOT_EVERYWHERE,
        example="hunyuanvideo-community/HunyuanVideo",
    ),
    Family(
        "HunyuanVideo 1.5",
        (
            Way("HunyuanVideo15Pipeline"),
            Way("HunyuanVideo15ImageToVideoPipeline", _takes("image"), _IMAGE, first("image")),
        ),
        stride=4,
        first=1,
        side=16,
        frames=121,
        width=832,
        height=480,
        fps=24,
        steps=50,
        guidance=6,
        licence=_TENCENT,
        commerce=_NOT_EVERYWHERE,
        example="hunyuanvideo-community/HunyuanVideo-1.5-Diffusers-480p_t2v",
        guides="",
    ),
    Family(
        "SkyReels-V2",
        (
            Way("SkyReelsV2Pipeline"),
            Way("SkyReelsV2ImageToVideoPipeline", _takes("image"), _IMAGE, first("image")),
            Way("SkyReelsV2DiffusionForcingPipeline"),
            Way(
                "SkyReelsV2DiffusionForcingImageToVideoPipeline",
                _takes("image", "ending"),
                _IMAGE,
                together(first("image"), last("last_image")),
                weights=("SkyReelsV2DiffusionForcingPipeline",),
            ),
        ),
        stride=4,
        first=1,
        side=16,
        frames=97,
        width=960,
        height=544,
        fps=24,
        steps=50,
        guidance=6,
        licence="Skywork",
        commerce="yes, under the terms of the licence",
        example="Skywork/SkyReels-V2-DF-1.3B-540P-Diffusers",
        vae_float32=True,
    ),
    Family(
        "CogVideoX",
        (
            Way("CogVideoXPipeline"),
            Way("CogVideoXVideoToVideoPipeline", _takes("video"), _VIDEO, film(), weights=("CogVideoXPipeline",)),
            Way("CogVideoXImageToVideoPipeline", _takes("image"), _IMAGE, first("image")),
            Way("CogVideoXFunControlPipeline", _takes("control"), _CONTROL, control("control_video")),
        ),
        stride=4,
        first=1,
        side=16,
        frames=49,
        width=720,
        height=480,
        fps=8,
        steps=50,
        guidance=6,
        licence="Apache-2.0 (2B), CogVideoX (5B)",
        commerce="2B yes; 5B after registration",
        example="THUDM/CogVideoX-2b",
    ),
    Family(
        "SANA-Video",
        (
            Way("SanaVideoPipeline", bind=always({"use_resolution_binning": False})),
            Way(
                "SanaImageToVideoPipeline",
                _takes("image"),
                _IMAGE,
                together(first("image"), always({"use_resolution_binning": False})),
            ),
        ),
        stride=4,
        first=1,
        side=32,
        frames=81,
        width=832,
        height=480,
        fps=16,
        steps=50,
        guidance=6,
        licence=_NVIDIA,
        commerce="yes",
        example="Efficient-Large-Model/SANA-Video_2B_480p_diffusers",
    ),
    Family(
        "SANA-WM",
        (
            Way(
                "SanaWMPipeline",
                _takes("image", "camera"),
                frozenset({"image", "camera"}),
                together(first("image"), camera),
            ),
        ),
        stride=8,
        first=1,
        side=32,
        frames=161,
        width=1280,
        height=704,
        fps=16,
        steps=60,
        guidance=5,
        licence="Apache-2.0",
        commerce="yes",
        example="Efficient-Large-Model/SANA-WM_diffusers",
    ),
    Family(
        "Helios",
        (
            Way("HeliosPipeline"),
            Way("HeliosPipeline", _takes("image"), _IMAGE, first("image")),
        ),
        stride=33,
        first=0,
        side=16,
        frames=132,
        width=640,
        height=384,
        fps=24,
        steps=50,
        guidance=5,
        licence="Apache-2.0",
        commerce="yes",
        example="BestWishYsh/Helios-Base",
        vae_float32=True,
    ),
    Family(
        "Mochi 1",
        (Way("MochiPipeline"),),
        stride=6,
        first=1,
        side=16,
        frames=85,
        width=848,
        height=480,
        fps=30,
        steps=64,
        guidance=4.5,
        licence="Apache-2.0",
        commerce="yes",
        example="genmo/mochi-1-preview",
    ),
    Family(
        "Allegro",
        (Way("AllegroPipeline", bind=always({"clean_caption": False})),),
        stride=4,
        first=0,
        side=16,
        frames=88,
        width=1280,
        height=720,
        fps=15,
        steps=100,
        guidance=7.5,
        licence="Apache-2.0",
        commerce="yes",
        example="rhymes-ai/Allegro",
        vae_float32=True,
        tiled=True,
        fewest=24,
    ),
    Family(
        "Latte",
        (Way("LattePipeline", bind=always({"clean_caption": False})),),
        stride=1,
        first=1,
        side=16,
        frames=16,
        width=512,
        height=512,
        fps=8,
        steps=50,
        guidance=7.5,
        licence="Apache-2.0",
        commerce="yes",
        example="maxin-cn/Latte-1",
    ),
    Family(
        "Stable Video Diffusion",
        (Way("StableVideoDiffusionPipeline", frozenset({"image"}), _IMAGE, first("image")),),
        stride=1,
        first=1,
        side=64,
        frames=25,
        width=1024,
        height=576,
        fps=7,
        steps=25,
        guidance=3,
        licence="Stability AI Community",
        commerce="under USD 1 M revenue a year",
        example="stabilityai/stable-video-diffusion-img2vid-xt",
        guides="max_guidance_scale",
    ),
    Family(
        "AnimateDiff",
        (
            Way("AnimateDiffPipeline"),
            Way(
                "AnimateDiffVideoToVideoPipeline",
                _takes("video"),
                _VIDEO,
                together(film(), always({"enforce_inference_steps": True})),
                weights=("AnimateDiffPipeline", "AnimateDiffControlNetPipeline"),
            ),
            Way("AnimateDiffControlNetPipeline", _takes("control"), _CONTROL, control("conditioning_frames")),
            Way(
                "AnimateDiffVideoToVideoControlNetPipeline",
                _takes("video", "control"),
                _VIDEO | _CONTROL,
                together(film(), control("conditioning_frames"), always({"enforce_inference_steps": True})),
                weights=("AnimateDiffControlNetPipeline",),
            ),
        ),
        stride=1,
        first=1,
        side=8,
        frames=16,
        width=512,
        height=512,
        fps=8,
        steps=50,
        guidance=7.5,
        licence="Apache-2.0 (motion), of the image model (rest)",
        commerce="as the image model allows",
        example="a folder with guoyww/animatediff-motion-adapter-v1-5-3 in it",
    ),
    Family(
        "ModelScope",
        (
            Way("TextToVideoSDPipeline"),
            Way("VideoToVideoSDPipeline", _takes("video"), _VIDEO, film(), weights=("TextToVideoSDPipeline",)),
        ),
        stride=1,
        first=1,
        side=8,
        frames=16,
        width=256,
        height=256,
        fps=8,
        steps=50,
        guidance=9,
        licence="CC-BY-NC-4.0",
        commerce="no",
        example="ali-vilab/text-to-video-ms-1.7b",
    ),
    Family(
        "Text2Video-Zero",
        (
            Way(
                "TextToVideoZeroPipeline",
                weights=("StableDiffusionPipeline",),
                tuned=lambda steps: {"t0": max(0, steps * 44 // 50), "t1": max(1, steps * 47 // 50)},
                alone=True,
            ),
        ),
        stride=1,
        first=2,
        side=8,
        frames=8,
        width=512,
        height=512,
        fps=4,
        steps=50,
        guidance=7.5,
        licence="of the image model",
        commerce="as the image model allows",
        example="stable-diffusion-v1-5/stable-diffusion-v1-5",
    ),
    Family(
        "Cosmos 1 and 2",
        (
            Way("CosmosTextToWorldPipeline"),
            Way("CosmosVideoToWorldPipeline", _takes("image"), _IMAGE, first("image")),
            Way("CosmosVideoToWorldPipeline", _takes("opening"), frozenset({"opening"}), opening("video")),
            Way("Cosmos2VideoToWorldPipeline", _takes("image"), _IMAGE, first("image")),
        ),
        stride=8,
        first=1,
        side=16,
        frames=121,
        width=1280,
        height=704,
        fps=30,
        steps=36,
        guidance=7,
        licence=_NVIDIA,
        commerce="yes",
        example="nvidia/Cosmos-1.0-Diffusion-7B-Text2World",
        without="wants torchvision of the same build as PyTorch, and the package cosmos_guardrail",
    ),
)


def family_of(pipeline: str) -> Family | None:
    """The family that a pipeline class, as model_index.json names it, belongs to; None if none does."""
    for family in FAMILIES:
        for way in family.ways:
            if pipeline == way.pipeline:
                return family
    for family in FAMILIES:
        if any(pipeline in way.weights for way in family.ways):
            return family
    return None


def families_with(wanted: frozenset[str]) -> list[str]:
    """Names of the families that have a way which takes all that is wanted together."""
    return [family.name for family in FAMILIES if any(wanted <= way.takes for way in family.ways)]


def in_words(names: frozenset[str]) -> str:
    """{"image", "prompt"} -> "a prompt and a first frame"."""
    said = [sentence for name, sentence in GIVEN.items() if name in names]
    return " and ".join([", ".join(said[:-1]), said[-1]] if len(said) > 1 else said)
