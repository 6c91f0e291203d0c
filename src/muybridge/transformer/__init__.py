"""(Noisy latent, noise levels, Streams) -> velocity: blocks, attention, rotary positions."""
