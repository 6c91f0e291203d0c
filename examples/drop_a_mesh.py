"""A mesh of one's own falls beside a ball: a jack of three bars, given as triangles.

python examples/drop_a_mesh.py
"""

from dataclasses import replace

import numpy as np

import muybridge
from muybridge.simulation import film, mesh_of, sample_world
from muybridge.simulation.things import Thing

corners = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)])
sides = [[0, 1, 3], [0, 3, 2], [4, 6, 7], [4, 7, 5], [0, 4, 5], [0, 5, 1]]
sides += [[2, 3, 7], [2, 7, 6], [0, 2, 6], [0, 6, 4], [1, 5, 7], [1, 7, 3]]
bars = [(0.3, 0.07, 0.07), (0.07, 0.3, 0.07), (0.07, 0.07, 0.3)]  # half extents in metres
vertices = np.concatenate([corners * bar for bar in bars])
faces = np.concatenate([np.array(sides) + 8 * i for i in range(len(bars))])
jack = mesh_of("jack", vertices, faces)  # or muybridge.simulation.read_mesh(Path("mug.obj"))

falling = Thing(
    shape=jack.name,
    colour="red",
    size="medium",
    extents=jack.extents,
    position=(0.1, 0.0, 1.1),
    quaternion=(0.9, 0.3, 0.3, 0.1),
    motion="drop",
    mesh=jack,
)
ball = Thing("ball", "blue", "small", (0.18, 0.0, 0.0), (-0.5, 0.1, 0.18))
clip = film(replace(sample_world(8), things=(falling, ball), props=()), frames=33, height=128, width=128)
muybridge.write_mp4("jack.mp4", clip.rgb, clip.fps)
muybridge.contact_sheet(clip.rgb, "jack.png", fps=clip.fps, most=8, title=clip.captions[-1])
print(clip.captions[-1])
for event in clip.events:
    print(event)
