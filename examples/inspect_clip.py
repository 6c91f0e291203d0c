"""How a clip was made, read from the file; then it is made again, and compared frame for frame.

python examples/inspect_clip.py [MODEL]
"""

import sys

import muybridge
from muybridge.storage.provenance import command, from_metadata

model = muybridge.load(sys.argv[1] if len(sys.argv) > 1 else "nano")
learnt = model.config["trained"]
condition = muybridge.Condition(
    "two balls", frames=learnt["frames"], height=learnt["height"], width=learnt["width"], fps=learnt["fps"]
)
model.generate(condition, seed=11)[0].save("made.mp4")

frames, fps, metadata = muybridge.read_mp4("made.mp4")
made = from_metadata(metadata)
print(f"{made.prompt!r} by {made.model} ({made.model_hash}), seed {made.seed}")
print(command(made))
again = muybridge.Condition(made.prompt, made.negative, made.frames, made.height, made.width, made.fps)
model.generate(again, seed=made.seed)[0].save("again.mp4")
same = bool((muybridge.read_mp4("again.mp4").frames == frames).all())
print("frame for frame the same:", same)
sys.exit(not same)
