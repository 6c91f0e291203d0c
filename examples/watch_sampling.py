"""Noise becomes a clip, step by step: every preview is decoded and kept; leaving the loop would cancel.

python examples/watch_sampling.py [MODEL]
"""

import sys
from dataclasses import replace

import numpy as np

import muybridge

model = muybridge.load(sys.argv[1] if len(sys.argv) > 1 else "nano")
learnt = model.config["trained"]
condition = muybridge.Condition(
    "a purple box slides down a ramp",
    frames=learnt["frames"],
    height=learnt["height"],
    width=learnt["width"],
    fps=learnt["fps"],
)
settings = replace(model.settings, steps=8, preview_every=1)
middles, captions = [], []
for event in model.sample(condition, [0], settings):
    if isinstance(event, muybridge.Progress):
        print(f"step {event.step} of {event.steps}, {event.seconds_left:.1f} s left")
    latent = event.latent if isinstance(event, muybridge.Sampled) else event.preview
    if latent is not None:
        frames = muybridge.to_uint8(model.decode(latent).frames[0])
        middles.append(frames[len(frames) // 2])
        captions.append(f"preview {len(middles)}")
captions[-1] = "finished"
muybridge.contact_sheet(np.stack(middles), "sampling.png", captions=captions, title=condition.prompt)
print("sampling.png")
