"""A clip is carried on: its last frames are what is known of the next one.

python examples/extend.py [MODEL]
"""

import sys
from dataclasses import replace

import numpy as np

import muybridge

KNOWN = 5  # frames, 1 + 4k

model = muybridge.load(sys.argv[1] if len(sys.argv) > 1 else "nano")
learnt = model.config["trained"]
condition = muybridge.Condition(
    "a large blue ball rolls to the right",
    frames=learnt["frames"],
    height=learnt["height"],
    width=learnt["width"],
    fps=learnt["fps"],
)
(first,) = model.generate(condition, seed=3)
known = first.video.frames[0, -KNOWN:]
(second,) = model.generate(replace(condition, prefix=known), seed=4)
whole = np.concatenate([first.frames, second.frames[KNOWN:]])
muybridge.write_mp4("extended.mp4", whole, condition.fps)
muybridge.contact_sheet(whole, "extended.png", fps=condition.fps, title=condition.prompt)
print(f"extended.mp4: {len(first.frames)} frames became {len(whole)}")
