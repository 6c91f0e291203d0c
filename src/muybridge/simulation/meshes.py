"""Meshes from files and arrays: MuJoCo reads them, what cannot be shown or moved is refused."""

from __future__ import annotations

import functools
import hashlib
import re
import struct
from dataclasses import replace
from pathlib import Path

import mujoco
import numpy as np
from jaxtyping import Float, Int

from muybridge.simulation.scene import Mesh

KINDS = (".obj", ".stl")
MOST_FACES = 100_000
"""More take seconds to prepare, and a picture has no pixels for them."""


def read_mesh(path: Path) -> Mesh:
    """The mesh in an OBJ or STL file, named after the file: "coffee_mug-2.stl" is a "coffee mug".

    Its origin is the centre of mass of its convex hull; axes and units are the file's.
    Raises ValueError, naming the file, for what is not a mesh that can be simulated; OSError for what cannot be read.
    """
    kind = path.suffix.lower()
    if kind not in KINDS:
        raise ValueError(f"{path} is neither OBJ nor STL: export the mesh as one of those")
    data = path.read_bytes()
    _check_file(data, kind, str(path))
    text = f'<mujoco><asset><mesh name="it" file="it{kind}" inertia="shell"/></asset>{_SEEN}</mujoco>'
    try:
        model = mujoco.MjModel.from_xml_string(text, {f"it{kind}": data})
    except ValueError as error:
        reason = str(error).splitlines()[0].removeprefix("Error: ").rstrip(".")
        raise ValueError(f"{path} is damaged or no mesh ({reason}): export it anew, as triangles") from error
    turn = np.empty(9)
    mujoco.mju_quat2Mat(turn, model.mesh_quat[0])
    vertices = model.mesh_vert.astype(np.float64) @ turn.reshape(3, 3).T + model.mesh_pos[0]
    return mesh_of(_name(path), vertices, model.mesh_face, str(path))


def read_meshes(folder: Path) -> tuple[Mesh, ...]:
    """All OBJ and STL files of a folder, by name. Raises ValueError where there is none or one is bad."""
    if not folder.is_dir():
        raise ValueError(f"{folder} is no folder: name one that holds OBJ or STL files")
    files = sorted(file for file in folder.iterdir() if file.suffix.lower() in KINDS)
    if not files:
        raise ValueError(f"{folder} holds no OBJ and no STL files: put at least one there")
    return tuple(read_mesh(file) for file in files)


def mesh_of(
    name: str, vertices: Float[np.ndarray, "v 3"], faces: Int[np.ndarray, "f 3"], where: str | None = None
) -> Mesh:
    """A mesh of triangles, moved so that its origin is the centre of mass of its convex hull.

    Corners of faces go counter-clockwise seen from outside. `where` is what complaints call it, else its name.
    Raises ValueError for no faces or too many, faces without vertices, numbers that are not finite, and for a mesh
    that is flat.
    """
    where = where or f"the mesh {name!r}"
    _check_count(len(faces), where)
    if not np.isfinite(vertices).all():
        raise ValueError(f"{where} has vertices that are not finite numbers: mend those")
    if faces.min() < 0 or faces.max() >= len(vertices):
        raise ValueError(f"{where} has faces of vertices that it does not have ({len(vertices)}): mend those")
    corners, places = np.unique(faces, return_inverse=True)
    used, faces = vertices[corners], places.reshape(-1, 3).astype(np.int32)
    spread = np.linalg.svd(used - used.mean(axis=0), compute_uv=False)
    if spread[-1] < 1e-4 * spread[0]:
        raise ValueError(f"{where} is flat, and a body has a volume: give it a thickness")
    scale = float(np.abs(used - used.mean(axis=0)).max())  # MuJoCo takes no bodies of a millimetre
    unit = Mesh(name, used / scale, faces, 0.0)
    try:
        model = compiled(unit)
    except ValueError as error:
        reason = str(error).splitlines()[0].removeprefix("Error: ").rstrip(".")
        raise ValueError(f"{where} cannot be simulated ({reason}): mend it") from error
    return Mesh(name, used - scale * model.body_ipos[1], faces, float(model.body_mass[1]) * scale**3)


def scaled(mesh: Mesh, factor: float) -> Mesh:
    """The mesh, so many times as large."""
    return replace(mesh, vertices=factor * mesh.vertices, volume=factor**3 * mesh.volume)


def digest(mesh: Mesh) -> str:
    """Of its shape: where it differs, clips do."""
    return hashlib.sha256(mesh.vertices.tobytes() + mesh.faces.tobytes()).hexdigest()[:16]


@functools.lru_cache(maxsize=32)
def compiled(mesh: Mesh) -> mujoco.MjModel:
    """A model of the mesh alone, in its own axes, with density 1 and the inertia of its convex hull."""
    asset = f'<asset><mesh name="it" inertia="convex" {points(mesh)} face="{_text(mesh.faces)}"/></asset>'
    return mujoco.MjModel.from_xml_string(f"<mujoco>{asset}{_SEEN}</mujoco>")


def points(mesh: Mesh) -> str:
    """The attribute of MuJoCo's XML that holds the vertices; without faces they mean their convex hull."""
    return f'vertex="{_text(mesh.vertices)}"'


_SEEN = '<worldbody><body><geom type="mesh" mesh="it" density="1" contype="0" conaffinity="0"/></body></worldbody>'


def _text(numbers: Float[np.ndarray, "k 3"] | Int[np.ndarray, "k 3"]) -> str:
    return " ".join(map(repr, numbers.ravel().tolist()))


def _check_file(data: bytes, kind: str, where: str) -> None:
    """Refuses what MuJoCo would read as something else, or for minutes."""
    if kind == ".obj":
        _check_count(len(re.findall(rb"^[ \t]*f\s", data, re.MULTILINE)), where)
        for line in re.finditer(rb"^[ \t]*v\s.*$", data, re.MULTILINE):
            try:
                finite = np.isfinite([float(word) for word in line[0].split()[1:4]]).sum() == 3
            except ValueError:
                finite = False
            if not finite:  # MuJoCo would take 0 for what is no number
                number = data.count(b"\n", 0, line.start()) + 1
                raise ValueError(f"{where} is damaged: line {number} is no place in space; export it anew")
    elif len(data) < 84 or (data[:5] == b"solid" and b"facet" in data[:400]):
        kind = "a text STL" if data[:5] == b"solid" else "too short for an STL"
        raise ValueError(f"{where} is {kind}: export it anew, as OBJ or binary STL")
    else:
        _check_count(int(struct.unpack_from("<I", data, 80)[0]), where)


def _check_count(faces: int, where: str) -> None:
    if not faces:
        raise ValueError(f"{where} has no faces: export the surface, not only its points")
    if faces > MOST_FACES:
        raise ValueError(f"{where} has {faces:,} faces: simplify it to {MOST_FACES:,} at most, a few thousand do")


def _name(path: Path) -> str:
    name = " ".join(re.findall(r"[a-z]+", path.stem.lower()))
    if not name:
        raise ValueError(f"{path} has no word for a name: call the file what captions are to call it, mug{path.suffix}")
    return name
