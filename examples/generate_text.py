"""A sentence becomes a clip.

python examples/generate_text.py [MODEL]
"""

import sys

import muybridge

model = muybridge.load(sys.argv[1] if len(sys.argv) > 1 else "nano")
learnt = model.config["trained"]
condition = muybridge.Condition(
    prompt="a small red ball rolls behind a tall blue box while the camera pans right",
    frames=learnt["frames"],
    height=learnt["height"],
    width=learnt["width"],
    fps=learnt["fps"],
)
(clip,) = model.generate(condition, seed=7)
print("clip          ", clip.save("clip.mp4"))
print("contact sheet ", clip.save_sheet("clip.png"))
print("made with     ", clip.provenance)
