"""A random pipeline of diffusers for every family, of a few thousand parameters, made on the spot, nothing fetched."""

from __future__ import annotations

import string
from collections.abc import Callable
from typing import Any

import torch

LETTERS = string.ascii_lowercase + string.digits + " .,-"
SIDE = 32


def seeded(make: Callable[[], Any]) -> Any:
    """The same random weights every time, in eval mode."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        made = make().eval()
        for weights in made.parameters():
            if weights.ndim > 1 and not weights.any():  # layers that begin without a say, as those of ControlNets do
                torch.nn.init.normal_(weights, std=0.1)
    return made


# words


def t5_tokenizer() -> Any:
    from transformers import T5Tokenizer

    pieces = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁", -2.0)]
    return T5Tokenizer(vocab=[*pieces, *((letter, -3.0) for letter in LETTERS if letter != " ")], extra_ids=0)


def clip_tokenizer() -> Any:
    from transformers import CLIPTokenizer

    pieces = ["<|startoftext|>", "<|endoftext|>", *LETTERS, *(f"{letter}</w>" for letter in LETTERS)]
    return CLIPTokenizer(vocab={piece: i for i, piece in enumerate(pieces)}, merges=[], model_max_length=77)


def gemma_tokenizer() -> Any:
    from transformers import GemmaTokenizer

    pieces = ["<pad>", "<eos>", "<bos>", "<unk>", "▁", *LETTERS]
    return GemmaTokenizer(vocab={piece: i for i, piece in enumerate(pieces)}, merges=[])


def llama_tokenizer() -> Any:
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    pieces = ["<pad>", "<bos>", "<eos>", "<unk>", *string.printable]
    inner = Tokenizer(models.WordLevel({piece: i for i, piece in enumerate(pieces)}, unk_token="<unk>"))
    inner.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    return PreTrainedTokenizerFast(
        tokenizer_object=inner, pad_token="<pad>", bos_token="<bos>", eos_token="<eos>", unk_token="<unk>"
    )


def t5() -> Any:
    from transformers import T5Config, T5EncoderModel

    config = T5Config(vocab_size=64, d_model=16, d_kv=8, d_ff=16, num_layers=1, num_heads=2)
    return seeded(lambda: T5EncoderModel(config))


def umt5() -> Any:
    from transformers import UMT5Config, UMT5EncoderModel

    config = UMT5Config(vocab_size=64, d_model=16, d_kv=8, d_ff=16, num_layers=1, num_heads=2)
    return seeded(lambda: UMT5EncoderModel(config))


def clip_text(width: int = 16) -> Any:
    from transformers import CLIPTextConfig, CLIPTextModel

    config = CLIPTextConfig(
        vocab_size=96,
        hidden_size=width,
        intermediate_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        projection_dim=width,
        max_position_embeddings=77,
        bos_token_id=0,
        eos_token_id=1,
    )
    return seeded(lambda: CLIPTextModel(config))


def clip_vision(width: int, projected: bool) -> Any:
    from transformers import CLIPVisionConfig, CLIPVisionModel, CLIPVisionModelWithProjection

    config = CLIPVisionConfig(
        hidden_size=width,
        intermediate_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        projection_dim=width,
        image_size=224,
        patch_size=56,
    )
    kind = CLIPVisionModelWithProjection if projected else CLIPVisionModel
    return seeded(lambda: kind(config))


def gemma2() -> Any:
    from transformers import Gemma2Config, Gemma2Model

    config = Gemma2Config(
        vocab_size=64,
        hidden_size=16,
        intermediate_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=8,
    )
    return seeded(lambda: Gemma2Model(config))


def llama() -> Any:
    from transformers import LlamaConfig, LlamaModel

    config = LlamaConfig(
        vocab_size=128,
        hidden_size=16,
        intermediate_size=16,
        num_hidden_layers=3,
        num_attention_heads=2,
        max_position_embeddings=512,
        pad_token_id=0,
    )
    return seeded(lambda: LlamaModel(config))


# autoencoders and schedulers


def wan_vae() -> Any:
    from diffusers import AutoencoderKLWan

    return seeded(
        lambda: AutoencoderKLWan(
            base_dim=3,
            z_dim=16,
            dim_mult=[1, 1, 1, 1],
            num_res_blocks=1,
            temperal_downsample=[False, True, True],
        )
    )


def image_vae() -> Any:
    from diffusers import AutoencoderKL

    return seeded(
        lambda: AutoencoderKL(
            block_out_channels=[4, 4, 8, 8],
            norm_num_groups=2,
            in_channels=3,
            out_channels=3,
            down_block_types=["DownEncoderBlock2D"] * 4,
            up_block_types=["UpDecoderBlock2D"] * 4,
            latent_channels=4,
        )
    )


def flow(**settings: Any) -> Any:
    from diffusers import FlowMatchEulerDiscreteScheduler

    return FlowMatchEulerDiscreteScheduler(**settings)


def unipc() -> Any:
    from diffusers import UniPCMultistepScheduler

    return UniPCMultistepScheduler(prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=3.0)


def ddim() -> Any:
    from diffusers import DDIMScheduler

    return DDIMScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="linear", clip_sample=False)


# Wan


def wan_transformer(**settings: Any) -> Any:
    from diffusers import WanTransformer3DModel

    base = {
        "patch_size": (1, 2, 2),
        "num_attention_heads": 2,
        "attention_head_dim": 12,
        "in_channels": 16,
        "out_channels": 16,
        "text_dim": 16,
        "freq_dim": 32,
        "ffn_dim": 16,
        "num_layers": 2,
        "cross_attn_norm": True,
        "qk_norm": "rms_norm_across_heads",
        "rope_max_seq_len": 32,
    }
    return seeded(lambda: WanTransformer3DModel(**(base | settings)))


def wan_parts(transformer: Any, **more: Any) -> dict[str, Any]:
    return {
        "tokenizer": t5_tokenizer(),
        "text_encoder": umt5(),
        "vae": wan_vae(),
        "scheduler": unipc(),
        "transformer": transformer,
        **more,
    }


def wan() -> Any:
    from diffusers import WanPipeline

    return WanPipeline(**wan_parts(wan_transformer()))


def wan_two() -> Any:
    """Wan 2.2: one transformer for the noisy half, one for the rest; a still by per-frame times."""
    from diffusers import WanPipeline

    return WanPipeline(**wan_parts(wan_transformer()), expand_timesteps=True)


def wan_image() -> Any:
    from diffusers import WanImageToVideoPipeline
    from transformers import CLIPImageProcessor

    transformer = wan_transformer(in_channels=36, image_dim=16)
    more = {"image_encoder": clip_vision(16, False), "image_processor": CLIPImageProcessor(size=224, crop_size=224)}
    return WanImageToVideoPipeline(**wan_parts(transformer, **more))


def wan_ends() -> Any:
    """Wan 2.2, image to video: stills by channels only, no image encoder."""
    from diffusers import WanImageToVideoPipeline

    return WanImageToVideoPipeline(**wan_parts(wan_transformer(in_channels=36)))


def wan_vace() -> Any:
    from diffusers import WanVACEPipeline, WanVACETransformer3DModel

    transformer = seeded(
        lambda: WanVACETransformer3DModel(
            patch_size=(1, 2, 2),
            num_attention_heads=2,
            attention_head_dim=12,
            in_channels=16,
            out_channels=16,
            text_dim=16,
            freq_dim=32,
            ffn_dim=16,
            num_layers=2,
            cross_attn_norm=True,
            qk_norm="rms_norm_across_heads",
            rope_max_seq_len=32,
            vace_layers=[0],
            vace_in_channels=96,
        )
    )
    return WanVACEPipeline(**wan_parts(transformer))


def skyreels(kind: str = "SkyReelsV2DiffusionForcingPipeline", **settings: Any) -> Any:
    import diffusers
    from transformers import CLIPImageProcessor

    base = {
        "patch_size": (1, 2, 2),
        "num_attention_heads": 2,
        "attention_head_dim": 12,
        "in_channels": 16,
        "out_channels": 16,
        "text_dim": 16,
        "freq_dim": 256,
        "ffn_dim": 16,
        "num_layers": 2,
        "cross_attn_norm": True,
        "qk_norm": "rms_norm_across_heads",
        "rope_max_seq_len": 32,
    }
    transformer = seeded(lambda: diffusers.SkyReelsV2Transformer3DModel(**(base | settings)))
    stills = {"image_encoder": clip_vision(16, True), "image_processor": CLIPImageProcessor(size=224, crop_size=224)}
    return getattr(diffusers, kind)(**wan_parts(transformer, **(stills if "image_dim" in settings else {})))


def skyreels_image() -> Any:
    return skyreels("SkyReelsV2ImageToVideoPipeline", in_channels=36, image_dim=16)


def helios() -> Any:
    from diffusers import HeliosPipeline, HeliosScheduler, HeliosTransformer3DModel

    transformer = seeded(
        lambda: HeliosTransformer3DModel(
            patch_size=(1, 2, 2),
            num_attention_heads=2,
            attention_head_dim=12,
            in_channels=16,
            out_channels=16,
            text_dim=16,
            freq_dim=32,
            ffn_dim=16,
            num_layers=2,
            cross_attn_norm=True,
            qk_norm="rms_norm_across_heads",
            rope_dim=(4, 4, 4),
            has_multi_term_memory_patch=True,
            guidance_cross_attn=True,
            zero_history_timestep=True,
            is_amplify_history=False,
        )
    )
    parts = wan_parts(transformer) | {
        "scheduler": HeliosScheduler(stage_range=[0, 1], stages=1, use_dynamic_shifting=True)
    }
    return HeliosPipeline(**parts)


# LTX


def ltx() -> Any:
    from diffusers import AutoencoderKLLTXVideo, LTXPipeline, LTXVideoTransformer3DModel

    transformer = seeded(
        lambda: LTXVideoTransformer3DModel(
            in_channels=8,
            out_channels=8,
            patch_size=1,
            patch_size_t=1,
            num_attention_heads=2,
            attention_head_dim=8,
            cross_attention_dim=16,
            num_layers=2,
            caption_channels=16,
        )
    )
    vae = seeded(
        lambda: AutoencoderKLLTXVideo(
            in_channels=3,
            out_channels=3,
            latent_channels=8,
            block_out_channels=(8, 8, 8, 8),
            decoder_block_out_channels=(8, 8, 8, 8),
            layers_per_block=(1, 1, 1, 1, 1),
            decoder_layers_per_block=(1, 1, 1, 1, 1),
            spatio_temporal_scaling=(True, True, True, False),
            decoder_spatio_temporal_scaling=(True, True, True, False),
            decoder_inject_noise=(False, False, False, False, False),
            upsample_residual=(False, False, False, False),
            upsample_factor=(1, 1, 1, 1),
            timestep_conditioning=False,
            patch_size=4,
            patch_size_t=1,
            encoder_causal=True,
            decoder_causal=False,
        )
    )
    vae.use_framewise_encoding = vae.use_framewise_decoding = False
    return LTXPipeline(scheduler=flow(), vae=vae, text_encoder=t5(), tokenizer=t5_tokenizer(), transformer=transformer)


def ltx2_vae() -> Any:
    from diffusers import AutoencoderKLLTX2Video

    vae = seeded(
        lambda: AutoencoderKLLTX2Video(
            latent_channels=4,
            block_out_channels=(8, 8, 8, 8),
            decoder_block_out_channels=(8, 8, 8),
            layers_per_block=(1, 1, 1, 1, 1),
            decoder_layers_per_block=(1, 1, 1, 1),
            decoder_causal=False,
            upsample_residual=(False, False, False),
            upsample_factor=(1, 1, 1),
            spatial_compression_ratio=32,
            temporal_compression_ratio=8,
        )
    )
    vae.use_framewise_encoding = vae.use_framewise_decoding = False
    return vae


def gemma3() -> Any:
    from transformers import Gemma3Config, Gemma3ForConditionalGeneration

    text = {
        "vocab_size": 64,
        "hidden_size": 16,
        "intermediate_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "head_dim": 8,
    }
    vision = {
        "hidden_size": 16,
        "intermediate_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "image_size": 32,
        "patch_size": 16,
    }
    config = Gemma3Config(
        text_config=text, vision_config=vision, mm_tokens_per_image=4, image_token_index=5, boi_token_index=6
    )
    return seeded(lambda: Gemma3ForConditionalGeneration(config))


def ltx2() -> Any:
    from diffusers import AutoencoderKLLTX2Audio, LTX2Pipeline, LTX2VideoTransformer3DModel
    from diffusers.pipelines.ltx2 import LTX2TextConnectors
    from diffusers.pipelines.ltx2.vocoder import LTX2Vocoder

    transformer = seeded(
        lambda: LTX2VideoTransformer3DModel(
            in_channels=4,
            out_channels=4,
            num_attention_heads=2,
            attention_head_dim=8,
            cross_attention_dim=16,
            audio_in_channels=4,
            audio_out_channels=4,
            audio_num_attention_heads=2,
            audio_attention_head_dim=4,
            audio_cross_attention_dim=8,
            num_layers=2,
            caption_channels=16,
            rope_double_precision=False,
            rope_type="split",
        )
    )
    connectors = seeded(
        lambda: LTX2TextConnectors(
            caption_channels=16,
            text_proj_in_factor=2,
            video_connector_num_attention_heads=2,
            video_connector_attention_head_dim=8,
            video_connector_num_layers=1,
            video_connector_num_learnable_registers=None,
            audio_connector_num_attention_heads=2,
            audio_connector_attention_head_dim=8,
            audio_connector_num_layers=1,
            audio_connector_num_learnable_registers=None,
            connector_rope_base_seq_len=32,
            rope_double_precision=False,
            rope_type="split",
        )
    )
    audio_vae = seeded(
        lambda: AutoencoderKLLTX2Audio(
            base_channels=4, ch_mult=(1,), num_res_blocks=1, resolution=32, latent_channels=2, mel_bins=8
        )
    )
    vocoder = seeded(
        lambda: LTX2Vocoder(
            in_channels=16,
            hidden_channels=8,
            upsample_kernel_sizes=[4, 4],
            upsample_factors=[2, 2],
            resnet_kernel_sizes=[3],
            resnet_dilations=[[1, 3, 5]],
            output_sampling_rate=16000,
        )
    )
    return LTX2Pipeline(
        scheduler=flow(),
        vae=ltx2_vae(),
        audio_vae=audio_vae,
        text_encoder=gemma3(),
        tokenizer=gemma_tokenizer(),
        connectors=connectors,
        transformer=transformer,
        vocoder=vocoder,
    )


# SANA


def sana(kind: str = "SanaVideoPipeline") -> Any:
    import diffusers

    transformer = seeded(
        lambda: diffusers.SanaVideoTransformer3DModel(
            in_channels=16,
            out_channels=16,
            num_attention_heads=2,
            attention_head_dim=12,
            num_layers=2,
            num_cross_attention_heads=2,
            cross_attention_head_dim=12,
            cross_attention_dim=24,
            caption_channels=16,
            mlp_ratio=1.0,
            rope_max_seq_len=32,
        )
    )
    scheduler = diffusers.FlowMatchEulerDiscreteScheduler()
    return getattr(diffusers, kind)(
        tokenizer=gemma_tokenizer(), text_encoder=gemma2(), vae=wan_vae(), transformer=transformer, scheduler=scheduler
    )


def sana_world() -> Any:
    from diffusers import SanaWMPipeline, SanaWMTransformer3DModel

    transformer = seeded(
        lambda: SanaWMTransformer3DModel(
            in_channels=4,
            num_layers=2,
            hidden_size=32,
            num_attention_heads=2,
            linear_head_dim=16,
            softmax_every_n=2,
            caption_channels=16,
            mlp_ratio=1.0,
            chunk_plucker_post_attn_blocks=2,
            mixed_precision="fp32",
        )
    )
    return SanaWMPipeline(
        tokenizer=gemma_tokenizer(),
        text_encoder=gemma2(),
        vae=ltx2_vae(),
        transformer=transformer,
        scheduler=flow(),
    )


# Hunyuan


def hunyuan() -> Any:
    from diffusers import AutoencoderKLHunyuanVideo, HunyuanVideoPipeline, HunyuanVideoTransformer3DModel

    transformer = seeded(
        lambda: HunyuanVideoTransformer3DModel(
            in_channels=4,
            out_channels=4,
            num_attention_heads=2,
            attention_head_dim=10,
            num_layers=2,
            num_single_layers=1,
            num_refiner_layers=1,
            patch_size=1,
            text_embed_dim=16,
            pooled_projection_dim=8,
            rope_axes_dim=(2, 4, 4),
        )
    )
    vae = seeded(
        lambda: AutoencoderKLHunyuanVideo(
            latent_channels=4, block_out_channels=(4, 4, 4, 4), layers_per_block=1, norm_num_groups=2
        )
    )
    return HunyuanVideoPipeline(
        text_encoder=llama(),
        tokenizer=llama_tokenizer(),
        transformer=transformer,
        vae=vae,
        scheduler=flow(shift=7.0),
        text_encoder_2=clip_text(8),
        tokenizer_2=clip_tokenizer(),
    )


def hunyuan15() -> Any:
    from diffusers import AutoencoderKLHunyuanVideo15, HunyuanVideo15Pipeline, HunyuanVideo15Transformer3DModel
    from diffusers.guiders import ClassifierFreeGuidance
    from transformers import ByT5Tokenizer, Qwen2_5_VLTextModel
    from transformers.models.qwen2_5_vl.configuration_qwen2_5_vl import Qwen2_5_VLTextConfig

    config = Qwen2_5_VLTextConfig(
        vocab_size=512,
        hidden_size=16,
        intermediate_size=16,
        num_hidden_layers=3,
        num_attention_heads=2,
        num_key_value_heads=2,
        rope_scaling={"mrope_section": [1, 1, 2], "rope_type": "default", "type": "default"},
    )
    transformer = seeded(
        lambda: HunyuanVideo15Transformer3DModel(
            in_channels=9,
            out_channels=4,
            num_attention_heads=2,
            attention_head_dim=8,
            num_layers=1,
            num_refiner_layers=1,
            mlp_ratio=2.0,
            text_embed_dim=16,
            text_embed_2_dim=16,
            image_embed_dim=12,
            rope_axes_dim=(2, 2, 4),
            target_size=16,
            task_type="t2v",
        )
    )
    vae = seeded(
        lambda: AutoencoderKLHunyuanVideo15(
            latent_channels=4,
            block_out_channels=(8, 8),
            layers_per_block=1,
            spatial_compression_ratio=4,
            temporal_compression_ratio=2,
            downsample_match_channel=False,
            upsample_match_channel=False,
        )
    )
    return HunyuanVideo15Pipeline(
        text_encoder=seeded(lambda: Qwen2_5_VLTextModel(config)),
        tokenizer=qwen_tokenizer(),
        transformer=transformer,
        vae=vae,
        scheduler=flow(shift=7.0),
        text_encoder_2=byt5(),
        tokenizer_2=ByT5Tokenizer(),
        guider=ClassifierFreeGuidance(guidance_scale=6.0),
    )


def byt5() -> Any:
    from transformers import T5Config, T5EncoderModel

    config = T5Config(vocab_size=400, d_model=16, d_kv=8, d_ff=16, num_layers=1, num_heads=2)
    return seeded(lambda: T5EncoderModel(config))


def qwen_tokenizer() -> Any:
    from transformers import Qwen2Tokenizer

    printable = [chr(code) for code in (*range(33, 127), *range(161, 173), *range(174, 256))]
    pieces = [
        *printable,
        *(chr(256 + i) for i in range(256 - len(printable))),
        "<|endoftext|>",
        "<|im_start|>",
        "<|im_end|>",
    ]
    made = Qwen2Tokenizer(vocab={piece: i for i, piece in enumerate(pieces)}, merges=[])
    made.chat_template = (
        "{% for message in messages %}<|im_start|>{{ message['role'] }}\n"
        "{{ message['content'] }}<|im_end|>\n{% endfor %}"
    )
    return made


# the rest, each of its own make


def cogvideox(kind: str = "CogVideoXPipeline", channels: int = 4) -> Any:
    import diffusers

    transformer = seeded(
        lambda: diffusers.CogVideoXTransformer3DModel(
            num_attention_heads=2,
            attention_head_dim=16,
            in_channels=channels,
            out_channels=4,
            time_embed_dim=4,
            text_embed_dim=16,
            num_layers=2,
            sample_width=4,
            sample_height=4,
            sample_frames=9,
        )
    )
    vae = seeded(
        lambda: diffusers.AutoencoderKLCogVideoX(
            block_out_channels=(4, 4, 4, 4), latent_channels=4, layers_per_block=1, norm_num_groups=2
        )
    )
    return getattr(diffusers, kind)(
        tokenizer=t5_tokenizer(),
        text_encoder=t5(),
        vae=vae,
        transformer=transformer,
        scheduler=diffusers.CogVideoXDDIMScheduler(),
    )


def mochi() -> Any:
    from diffusers import AutoencoderKLMochi, MochiPipeline, MochiTransformer3DModel

    transformer = seeded(
        lambda: MochiTransformer3DModel(
            num_attention_heads=2,
            attention_head_dim=8,
            num_layers=2,
            pooled_projection_dim=16,
            in_channels=12,
            text_embed_dim=16,
            time_embed_dim=4,
        )
    )
    vae = seeded(
        lambda: AutoencoderKLMochi(
            encoder_block_out_channels=(32, 32, 32, 32),
            decoder_block_out_channels=(32, 32, 32, 32),
            layers_per_block=(1, 1, 1, 1, 1),
        )
    )
    return MochiPipeline(
        scheduler=flow(), vae=vae, text_encoder=t5(), tokenizer=t5_tokenizer(), transformer=transformer
    )


def allegro() -> Any:
    from diffusers import AllegroPipeline, AllegroTransformer3DModel, AutoencoderKLAllegro, DDIMScheduler

    transformer = seeded(
        lambda: AllegroTransformer3DModel(
            num_attention_heads=2,
            attention_head_dim=12,
            num_layers=1,
            cross_attention_dim=24,
            sample_width=4,
            sample_height=4,
            sample_frames=4,
            caption_channels=16,
        )
    )
    vae = seeded(
        lambda: AutoencoderKLAllegro(
            block_out_channels=(2, 2, 2, 2), layers_per_block=1, norm_num_groups=2, sample_size=128
        )
    )
    return AllegroPipeline(
        tokenizer=t5_tokenizer(), text_encoder=t5(), vae=vae, transformer=transformer, scheduler=DDIMScheduler()
    )


def latte() -> Any:
    from diffusers import LattePipeline, LatteTransformer3DModel

    transformer = seeded(
        lambda: LatteTransformer3DModel(
            sample_size=4,
            num_layers=1,
            patch_size=2,
            attention_head_dim=8,
            num_attention_heads=2,
            caption_channels=16,
            in_channels=4,
            cross_attention_dim=16,
            out_channels=8,
            attention_bias=True,
            activation_fn="gelu-approximate",
            num_embeds_ada_norm=1000,
            norm_type="ada_norm_single",
            norm_elementwise_affine=False,
            norm_eps=1e-6,
            video_length=4,
        )
    )
    return LattePipeline(
        tokenizer=t5_tokenizer(), text_encoder=t5(), vae=image_vae(), transformer=transformer, scheduler=ddim()
    )


def svd() -> Any:
    from diffusers import (
        AutoencoderKLTemporalDecoder,
        EulerDiscreteScheduler,
        StableVideoDiffusionPipeline,
        UNetSpatioTemporalConditionModel,
    )
    from transformers import CLIPImageProcessor

    unet = seeded(
        lambda: UNetSpatioTemporalConditionModel(
            block_out_channels=(32, 32),
            layers_per_block=1,
            down_block_types=("CrossAttnDownBlockSpatioTemporal", "DownBlockSpatioTemporal"),
            up_block_types=("UpBlockSpatioTemporal", "CrossAttnUpBlockSpatioTemporal"),
            cross_attention_dim=16,
            num_attention_heads=(2, 2),
            addition_time_embed_dim=8,
            projection_class_embeddings_input_dim=24,
            num_frames=4,
        )
    )
    vae = seeded(
        lambda: AutoencoderKLTemporalDecoder(
            block_out_channels=(32, 32, 32, 32), down_block_types=("DownEncoderBlock2D",) * 4, latent_channels=4
        )
    )
    scheduler = EulerDiscreteScheduler(
        beta_schedule="scaled_linear",
        interpolation_type="linear",
        prediction_type="v_prediction",
        timestep_spacing="leading",
        timestep_type="continuous",
        use_karras_sigmas=True,
        sigma_min=0.002,
        sigma_max=700.0,
    )
    return StableVideoDiffusionPipeline(
        vae=vae,
        image_encoder=clip_vision(16, True),
        unet=unet,
        scheduler=scheduler,
        feature_extractor=CLIPImageProcessor(size=224, crop_size=224),
    )


def image_unet() -> Any:
    from diffusers import UNet2DConditionModel

    return seeded(
        lambda: UNet2DConditionModel(
            block_out_channels=(4, 8),
            layers_per_block=1,
            sample_size=8,
            norm_num_groups=2,
            down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
            up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
            cross_attention_dim=16,
            attention_head_dim=2,
        )
    )


def stable_diffusion_parts() -> dict[str, Any]:
    return {
        "vae": image_vae(),
        "text_encoder": clip_text(),
        "tokenizer": clip_tokenizer(),
        "unet": image_unet(),
        "scheduler": ddim(),
    }


def motion() -> Any:
    from diffusers import MotionAdapter

    return seeded(
        lambda: MotionAdapter(
            block_out_channels=(4, 8), motion_layers_per_block=1, motion_norm_num_groups=2, motion_num_attention_heads=2
        )
    )


def animatediff() -> Any:
    from diffusers import AnimateDiffPipeline

    return AnimateDiffPipeline(**stable_diffusion_parts(), motion_adapter=motion())


def animatediff_control() -> Any:
    from diffusers import AnimateDiffControlNetPipeline, ControlNetModel

    controlnet = seeded(
        lambda: ControlNetModel(
            block_out_channels=(4, 8),
            layers_per_block=1,
            in_channels=4,
            down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
            conditioning_embedding_out_channels=(4, 4, 4, 4),
            cross_attention_dim=16,
            attention_head_dim=2,
            norm_num_groups=2,
        )
    )
    return AnimateDiffControlNetPipeline(**stable_diffusion_parts(), motion_adapter=motion(), controlnet=controlnet)


def modelscope() -> Any:
    from diffusers import TextToVideoSDPipeline, UNet3DConditionModel

    unet = seeded(
        lambda: UNet3DConditionModel(
            block_out_channels=(4, 8),
            layers_per_block=1,
            sample_size=8,
            down_block_types=("CrossAttnDownBlock3D", "DownBlock3D"),
            up_block_types=("UpBlock3D", "CrossAttnUpBlock3D"),
            cross_attention_dim=16,
            attention_head_dim=4,
            norm_num_groups=2,
        )
    )
    return TextToVideoSDPipeline(**stable_diffusion_parts() | {"unet": unet})


def zero() -> Any:
    from diffusers import TextToVideoZeroPipeline

    return TextToVideoZeroPipeline(
        **stable_diffusion_parts(), safety_checker=None, feature_extractor=None, requires_safety_checker=False
    )
