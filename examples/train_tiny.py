"""A recipe becomes a checkpoint, and the checkpoint a clip. Seconds, because the recipe is a toy: it shows no pictures.

python examples/train_tiny.py [FOLDER]
"""

import sys
from dataclasses import replace
from pathlib import Path

import muybridge
from muybridge.data.material import Simulated
from muybridge.recipes import find
from muybridge.train import train
from muybridge.training.parallel import Group
from muybridge.types import Trained

folder = Path(sys.argv[1] if len(sys.argv) > 1 else "tiny")
recipe = replace(find("tiny"), name="toy")  # another recipe is another dataclass: change what you like
for stage, event in train(recipe, Simulated(), folder, Group(), workers=0):
    if isinstance(event, Trained):
        print(f"{stage:12} step {event.step} of {event.steps}: loss {event.metrics['loss']:.3f}")

model = muybridge.load(folder / "model")
(clip,) = model.generate(muybridge.Condition("a red ball", frames=9, height=64, width=64), seed=1)
print("clip         ", clip.save("toy.mp4"))
