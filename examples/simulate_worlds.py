"""Tabletop worlds from seeds, with everything that is true of them.

python examples/simulate_worlds.py
"""

import numpy as np

import muybridge

for seed in range(3):
    clip = muybridge.simulate(seed, frames=33, height=128, width=128, fps=15)
    muybridge.write_mp4(f"world-{seed}.mp4", clip.rgb, clip.fps)
    print(f"seed {seed}: {clip.captions[-1]}")
    for i, thing in enumerate(clip.objects):
        path = clip.states.position[:, i]
        hidden = float((clip.states.visible[:, i] < 0.1).mean())
        print(f"  {thing.name}: moves {np.ptp(path, axis=0).max():.2f} m, out of sight {hidden:.0%} of the time")
    for event in clip.events:
        print(f"  {event}")
    near = np.where(np.isfinite(clip.depth), clip.depth, clip.depth[np.isfinite(clip.depth)].max())
    scaled = ((near.max() - near) / np.ptp(near) * 255).astype(np.uint8)
    both = np.concatenate([clip.rgb, np.repeat(scaled[..., None], 3, axis=-1)], axis=2)
    muybridge.contact_sheet(both, f"world-{seed}.png", fps=clip.fps, most=8, title="pictures and depth")
