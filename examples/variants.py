"""A grid of seeds, sampled as one batch: the same prompt, other noise. A clip does not depend on its batch.

python examples/variants.py [MODEL]
"""

import sys

import numpy as np

import muybridge

model = muybridge.load(sys.argv[1] if len(sys.argv) > 1 else "nano")
learnt = model.config["trained"]
condition = muybridge.Condition(
    "a green cylinder falls next to a yellow ball",
    frames=learnt["frames"],
    height=learnt["height"],
    width=learnt["width"],
    fps=learnt["fps"],
)
clips = model.generate(condition, seed=range(4))
for clip in clips:
    clip.save(f"variant-{clip.provenance.seed}.mp4")
top, bottom = (np.concatenate([clip.frames for clip in row], axis=2) for row in (clips[:2], clips[2:]))
grid = np.concatenate([top, bottom], axis=1)
muybridge.write_mp4("variants.mp4", grid, condition.fps)
muybridge.contact_sheet(grid, "variants.png", fps=condition.fps, most=4, title=condition.prompt)
print("variants.mp4", grid.shape)
