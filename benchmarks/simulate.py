"""Frames a second of the simulator, everything included, and whether two runs give the same bits.

    python benchmarks/simulate.py [--clips 60] [--frames 33] [--size 128] [--meshes DIR] [--json PATH]

Every clip comes with physics, captions and all modalities (RGB, depth, flow, instances, normals). One warm-up clip
compiles the renderer before any clock starts. With --meshes, OBJ and STL files stand in for the loose boxes.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import multiprocessing
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from muybridge.simulation import Clip, describe, read_meshes, sample_world, simulate
from muybridge.simulation.physics import trajectory


@dataclass(frozen=True)
class Job:
    """Seeds first to first + clips - 1 at one size; `meshes` is a folder, "" where there are none."""

    first: int
    clips: int
    frames: int
    size: int
    meshes: str


@dataclass(frozen=True)
class Done:
    """How long a job took by the wall clock and by the processor's, and a digest of all its bytes."""

    seconds: float
    cpu_seconds: float
    digest: str


def work(job: Job) -> Done:
    """Make the clips of a job in this process."""
    meshes = read_meshes(Path(job.meshes)) if job.meshes else ()
    simulate(0, 5, job.size, job.size)
    simulate(1, 5, job.size, job.size, meshes=meshes)  # it has a loose box
    hashed = hashlib.sha256()
    seconds = cpu_seconds = 0.0
    for seed in range(job.first, job.first + job.clips):
        wall, cpu = time.perf_counter(), time.process_time()
        clip = simulate(seed, job.frames, job.size, job.size, meshes=meshes)
        seconds, cpu_seconds = seconds + time.perf_counter() - wall, cpu_seconds + time.process_time() - cpu
        hashed.update(fingerprint(clip))
    return Done(seconds, cpu_seconds, hashed.hexdigest())


def fingerprint(clip: Clip) -> bytes:
    """A digest of everything in a clip."""
    hashed = hashlib.sha256(repr((clip.captions, clip.events, clip.objects)).encode())
    states, camera = clip.states, clip.camera
    for array in (clip.rgb, clip.depth, clip.flow, clip.instance, clip.normal, camera.pose, camera.intrinsics):
        hashed.update(array.tobytes())
    for array in (states.position, states.quaternion, states.velocity, states.spin, states.visible):
        hashed.update(array.tobytes())
    return hashed.digest()


def milliseconds_a_clip(clips: int, frames: int) -> dict[str, float]:
    """Processor time of the parts that are not rendering."""
    sampled = time.process_time()
    worlds = [sample_world(seed) for seed in range(clips)]
    moved = time.process_time()
    for world in worlds:
        trajectory(world, frames, 15.0)
    described = time.process_time()
    for seed in range(clips):
        describe(seed)
    end = time.process_time()
    return {
        "sample_world": 1e3 * (moved - sampled) / clips,
        "trajectory": 1e3 * (described - moved) / clips,
        "describe": 1e3 * (end - described) / clips,
    }


def rate(frames: int, seconds: float) -> float:
    return round(frames / seconds, 1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clips", type=int, default=60)
    parser.add_argument("--frames", type=int, default=33)
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--meshes", default="")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    job = Job(0, options.clips, options.frames, options.size, options.meshes)
    count = job.clips * job.frames
    once = work(job)
    context = multiprocessing.get_context("spawn")
    with context.Pool(1) as pool:
        again = pool.apply(work, (job,))
    with context.Pool(2) as pool:
        both = pool.map(work, [job, Job(job.clips, job.clips, job.frames, job.size, job.meshes)], chunksize=1)
    report = {
        "job": asdict(job),
        "frames_per_second_one_process": rate(count, once.seconds),
        "frames_per_cpu_second": rate(count, once.cpu_seconds),
        "frames_per_second_two_processes": rate(2 * count, max(done.seconds for done in both)),
        "identical_between_runs": once.digest == again.digest == both[0].digest,
        "milliseconds_a_clip": {name: round(value, 2) for name, value in milliseconds_a_clip(60, job.frames).items()},
    }
    for name, value in report.items():
        print(f"{name:34} {value}")
    if options.json:
        options.json.write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
