"""Our models as pipelines of diffusers: what `muybridge export --format diffusers` writes, and what reads it there.

A network of ours is wrapped as a model of diffusers, which brings its ways to load, save and place weights. Clips are
made by `Model`, as everywhere, so the same seed gives the same frames. This module imports diffusers; nothing else of
the package imports this module before a pipeline of ours is asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import torch
from diffusers import DiffusionPipeline, ModelMixin
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.utils import BaseOutput
from diffusers.video_processor import VideoProcessor
from torch import Tensor, nn

from muybridge.conditioning.text import TextConfig, TextEncoder
from muybridge.conditioning.vocabulary import Vocabulary
from muybridge.conditioning.witness import Witness, WitnessConfig
from muybridge.engines.export import check_words
from muybridge.generate import Model, fast_dtype
from muybridge.sampler.sample import Settings
from muybridge.storage.models import Networks, tuples
from muybridge.storage.stills import fit
from muybridge.tokenizer.autoencoder import AutoencoderConfig, VideoAutoencoder
from muybridge.transformer.model import TransformerConfig, VideoTransformer
from muybridge.transformer.planner import Planner, PlannerConfig
from muybridge.types import Condition, Event, Progress


class _Wrapped(ModelMixin, ConfigMixin):  # type: ignore[misc]
    """A network of ours as diffusers keeps one: `settings` in config.json, weights in safetensors."""

    network: nn.Module


class MuybridgeTransformer(_Wrapped):
    """`VideoTransformer`; settings: those of `TransformerConfig`."""

    @register_to_config  # type: ignore[untyped-decorator]
    def __init__(self, settings: dict[str, Any]) -> None:
        super().__init__()
        self.network = VideoTransformer(TransformerConfig(**tuples(settings)))


class MuybridgeAutoencoder(_Wrapped):
    """`VideoAutoencoder`; settings: those of `AutoencoderConfig`."""

    @register_to_config  # type: ignore[untyped-decorator]
    def __init__(self, settings: dict[str, Any]) -> None:
        super().__init__()
        self.network = VideoAutoencoder(AutoencoderConfig(**tuples(settings)))


class MuybridgeTextEncoder(_Wrapped):
    """`TextEncoder`; settings: those of `TextConfig`.

    vocabulary  the words it knows, JSON of the tokenizers library
    """

    @register_to_config  # type: ignore[untyped-decorator]
    def __init__(self, settings: dict[str, Any], vocabulary: str) -> None:
        super().__init__()
        self.network = TextEncoder(TextConfig(**tuples(settings)))


class MuybridgeWitness(_Wrapped):
    """`Witness`, which chooses among drafts of a first frame; settings: those of `WitnessConfig`."""

    @register_to_config  # type: ignore[untyped-decorator]
    def __init__(self, settings: dict[str, Any]) -> None:
        super().__init__()
        self.network = Witness(WitnessConfig(**tuples(settings)))


class MuybridgePlanner(_Wrapped):
    """`Planner`, which foresees where things go; settings: those of `PlannerConfig`."""

    @register_to_config  # type: ignore[untyped-decorator]
    def __init__(self, settings: dict[str, Any]) -> None:
        super().__init__()
        self.network = Planner(PlannerConfig(**tuples(settings)))


@dataclass
class MuybridgeOutput(BaseOutput):  # type: ignore[misc]
    """frames: (b t h w 3) in [0, 1] as an array, (b t 3 h w) as a tensor ("pt"), or lists of pictures ("pil")."""

    frames: Any


class MuybridgePipeline(DiffusionPipeline):  # type: ignore[misc]
    """Words, and first frames if there are any -> clips, by a model of Muybridge.

    sampling     how the model samples best: fields of `muybridge.Settings`
    trained      the clips it learnt from: frames, height, width, fps
    learnt_from  the same in words
    name         of the model
    """

    _optional_components = ["witness", "planner"]  # noqa: RUF012 (diffusers reads it so)

    def __init__(
        self,
        transformer: MuybridgeTransformer,
        vae: MuybridgeAutoencoder,
        text_encoder: MuybridgeTextEncoder,
        witness: MuybridgeWitness | None = None,
        planner: MuybridgePlanner | None = None,
        sampling: Any = None,
        trained: Any = None,
        learnt_from: str = "other clips",
        name: str = "muybridge",
    ) -> None:
        super().__init__()
        parts = {"transformer": transformer, "vae": vae, "text_encoder": text_encoder}
        self.register_modules(**parts, witness=witness, planner=planner)
        self.register_to_config(sampling=sampling, trained=trained, learnt_from=learnt_from, name=name)

    @classmethod
    def of(cls, model: Model, name: str) -> MuybridgePipeline:
        """The pipeline of a model of ours; it shares the model's networks. ValueError: see `check_words`."""
        check_words(model.name, model.config)
        text = MuybridgeTextEncoder(asdict(model.text.config), model.vocabulary.to_json())
        parts = {
            "transformer": (MuybridgeTransformer(asdict(model.transformer.config)), model.transformer),
            "vae": (MuybridgeAutoencoder(asdict(model.autoencoder.config)), model.autoencoder),
            "text_encoder": (text, model.text),
        }
        if model.witness is not None:
            parts["witness"] = (MuybridgeWitness(asdict(model.witness.config)), model.witness)
        if model.planner is not None:
            parts["planner"] = (MuybridgePlanner(asdict(model.planner.config)), model.planner)
        for wrapped, network in parts.values():
            wrapped.network = network
        return cls(
            **{part: wrapped for part, (wrapped, _) in parts.items()},
            sampling=asdict(model.settings),
            trained=dict(model.config["trained"]),
            learnt_from=model.config["learnt_from"],
            name=name,
        )

    def model(self, name: str = "", known_by: str = "", dtype: torch.dtype | None = None) -> Model:
        """The same networks as a `muybridge.Model`.

        dtype  of the matrix products; by default that of the weights, and of float32 weights what `muybridge.load`
               takes: bfloat16 where the processor multiplies it fast
        """
        config = {"trained": dict(self.config.trained), "learnt_from": self.config.learnt_from}
        networks = Networks(
            config,
            Settings(**tuples(self.config.sampling)),
            Vocabulary.from_json(self.text_encoder.config.vocabulary),
            self.vae.network,
            self.text_encoder.network,
            self.transformer.network,
            None,
            None if self.witness is None else self.witness.network,
            None if self.planner is None else self.planner.network,
        )
        for module in networks.modules().values():
            module.eval().requires_grad_(False)
        device, stored = self.transformer.device, self.transformer.dtype
        chosen = dtype or (fast_dtype(device) if stored == torch.float32 else stored)
        return Model(networks, name or self.config.name, known_by, "", device, chosen)

    @torch.no_grad()
    def __call__(
        self,
        prompt: str | Sequence[str] = "",
        negative_prompt: str = "",
        image: Any = None,
        num_frames: int | None = None,
        height: int | None = None,
        width: int | None = None,
        frame_rate: float | None = None,
        num_inference_steps: int | None = None,
        guidance_scale: float | None = None,
        num_drafts: int | None = None,
        generator: torch.Generator | Sequence[torch.Generator] | None = None,
        output_type: str = "np",
        return_dict: bool = True,
        dtype: torch.dtype | None = None,
        on_event: Callable[[Event], None] | None = None,
    ) -> Any:
        """A clip for each prompt; what is left out is as the model learnt and samples best.

        image       a first frame, or several: pictures (PIL), or a tensor (t 3 h w) in [-1, 1]
        num_drafts  first frames to draw, of which the witness chooses one; 0 is none
        generator   one, or one for each prompt. Its seed is that of the clip, as `muybridge generate --seed` takes it;
                    how often it was drawn from makes no difference
        on_event    hears of every step (`muybridge.Progress`, `muybridge.Sampled`)

        ValueError for what the model cannot make.
        """
        model, prompts = self.model(dtype=dtype), [prompt] if isinstance(prompt, str) else list(prompt)
        trained, seeds = self.config.trained, _seeds(generator, len(prompts))
        given: dict[str, Any] = {"steps": num_inference_steps, "guidance": guidance_scale, "drafts": num_drafts}
        settings = replace(model.settings, **{key: value for key, value in given.items() if value is not None})
        rows, columns = height or trained["height"], width or trained["width"]
        condition = Condition(
            negative=negative_prompt,
            frames=num_frames or trained["frames"],
            height=rows,
            width=columns,
            fps=float(frame_rate or trained["fps"]),
            prefix=_prefix(image, rows, columns),
        )
        clips = []
        for words, seed in zip(prompts, seeds, strict=True):
            watch = _Bar(self, on_event)
            clips += model.generate(replace(condition, prompt=words), seed, settings, watch.hear)
        frames = torch.stack([clip.video.frames[0] for clip in clips]).movedim(1, 2).clone()
        shown = VideoProcessor(vae_scale_factor=1).postprocess_video(frames.cpu(), output_type=output_type)
        return MuybridgeOutput(shown) if return_dict else (shown,)


class _Bar:
    """The pipeline's own progress bar, which the user can set or switch off, fed by events."""

    def __init__(self, pipe: DiffusionPipeline, also: Callable[[Event], None] | None) -> None:
        self.pipe, self.also = pipe, also
        self.bar: Any = None

    def hear(self, event: Event) -> None:
        if isinstance(event, Progress):
            self.bar = self.bar or self.pipe.progress_bar(total=event.steps)
            self.bar.update(event.step - self.bar.n)
            if event.step == event.steps:
                self.bar.close()
        if self.also is not None:
            self.also(event)


def _seeds(generator: torch.Generator | Sequence[torch.Generator] | None, clips: int) -> list[int]:
    if generator is None:
        return torch.randint(2**31, (clips,)).tolist()
    if isinstance(generator, torch.Generator):
        return [generator.initial_seed() + i for i in range(clips)]
    if len(generator) != clips:
        raise ValueError(f"there are {len(generator)} generators for {clips} prompts: give one each")
    return [one.initial_seed() for one in generator]


def _prefix(image: Any, height: int, width: int) -> Tensor | None:
    """First frames (t 3 h w) of this size."""
    if image is None:
        return None
    if isinstance(image, Tensor):
        return image if image.ndim == 4 else image[None]
    pictures = image if isinstance(image, list | tuple) else [image]
    pixels = [torch.from_numpy(np.array(picture.convert("RGB"))) for picture in pictures]
    return torch.stack([fit(one.movedim(-1, 0).float() / 127.5 - 1, height, width) for one in pixels])
