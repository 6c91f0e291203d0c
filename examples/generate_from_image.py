"""A still becomes the first frame of a clip. Without one of your own, a simulated still is taken.

python examples/generate_from_image.py [MODEL [STILL]]
"""

import sys

import torch

import muybridge

model = muybridge.load(sys.argv[1] if len(sys.argv) > 1 else "nano")
learnt = model.config["trained"]
height, width = learnt["height"], learnt["width"]
if len(sys.argv) > 2:
    still = muybridge.fit(muybridge.read_still(sys.argv[2]), height, width)
    prompt = ""
else:
    world = muybridge.simulate(seed=4, frames=1, height=height, width=width)
    still = torch.from_numpy(world.rgb[0]).permute(2, 0, 1) / 127.5 - 1
    prompt = world.captions[-1]
for doubt in model.doubts(still):
    print("note:", doubt)
condition = muybridge.Condition(
    prompt, frames=learnt["frames"], height=height, width=width, fps=learnt["fps"], prefix=still[None]
)
(clip,) = model.generate(condition, seed=1)
print(clip.save("from-still.mp4"), clip.save_sheet("from-still.png"))
