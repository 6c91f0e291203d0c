"""Muybridge: video diffusion transformers that are world models."""
