"""Falling objects, judged: how a model goes on with held-out scenes, beside the truth; and a metric of one's own.

python examples/measure.py [MODEL]
"""

import sys
from functools import partial

import numpy as np

import muybridge
from muybridge.commands.bench_models import condition_of
from muybridge.evaluation.falling import FallingObjects
from muybridge.evaluation.metric import ClipMean, Sample

SCENES = 2


def motion(clip: Sample) -> float:
    """Mean change of a pixel from frame to frame, of 255 levels."""
    return float(np.abs(np.diff(clip.frames.astype(float), axis=0)).mean())


model = muybridge.load(sys.argv[1] if len(sys.argv) > 1 else "nano")
suite = FallingObjects()
makers = {
    "truth": lambda task: task.truth.rgb,
    model.name: lambda task: model.generate(condition_of(model, task), seed=task.seed)[0].frames,
}
motions = {name: ClipMean("motion", (), motion, (0.0, 255.0)) for name in makers}
for task in map(partial(suite.task, "in distribution"), range(SCENES)):
    print(f"{task.prompt!r}, {task.known} of {len(task.truth.rgb)} frames given")
    for name, make in makers.items():
        frames = make(task)
        verdict = suite.judge(task, frames)
        motions[name].update(Sample(frames))
        print(f"  {name}: {'passes' if verdict.score == 1 else verdict.why}")
print("motion, levels a frame:", {name: f"{metric.compute().value:.2f}" for name, metric in motions.items()})
