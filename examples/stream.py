"""A stream: frames are there while they are made, and the words may change on the way.

python examples/stream.py [MODEL]
"""

import sys
from itertools import islice

import numpy as np

import muybridge

model = muybridge.load(sys.argv[1] if len(sys.argv) > 1 else "nano-fast")
learnt = model.config["trained"]
condition = muybridge.Condition(
    "a large green ball rolls to the right", height=learnt["height"], width=learnt["width"], fps=learnt["fps"]
)
stream = model.stream(condition, seed=3)
frames = []
for part in islice(stream, 18):  # one frame, then four at a time, for as long as somebody asks for more
    frames.append(part)
    if len(frames) == 9:
        stream.prompt = "a large green ball rolls to the left"
whole = np.concatenate(frames)
muybridge.write_mp4("stream.mp4", whole, condition.fps)
muybridge.contact_sheet(whole, "stream.png", fps=condition.fps, title=f"{condition.prompt} … {stream.prompt}")
print(f"stream.mp4: {len(whole)} frames")
