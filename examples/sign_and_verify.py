"""A clip is marked and signed; then the file is asked who made it, and again after somebody has changed one byte.

python examples/sign_and_verify.py [MODEL]
"""

import sys
from pathlib import Path

import muybridge
from muybridge.storage import manifest, watermark
from muybridge.storage.credentials import load_or_create
from muybridge.storage.publish import message_of, publish

model = muybridge.load(sys.argv[1] if len(sys.argv) > 1 else "nano")
learnt = model.config["trained"]
condition = muybridge.Condition("a red ball", frames=learnt["frames"], height=128, width=128, fps=learnt["fps"])
clip = model.generate(condition, seed=5)[0]
own = load_or_create("key.pem")
made = publish("signed.mp4", clip.frames, clip.provenance, own).provenance

changed = bytearray(Path("signed.mp4").read_bytes())
changed[-1000] ^= 1
Path("changed.mp4").write_bytes(changed)
for name in ("signed.mp4", "changed.mp4"):
    with open(name, "rb") as file:
        signature = manifest.read(file, own.anchor)
    print(f"{name}: {signature.state}, signed by {signature.signer!r}, trusted: {signature.trusted}")

reading = watermark.read(muybridge.read_mp4("signed.mp4").frames)
print("the pixels name this very clip:", reading.message == message_of(made))
