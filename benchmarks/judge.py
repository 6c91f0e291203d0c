"""How far the judge of text fidelity can be trusted:  python benchmarks/judge.py [--clips 200] [--json PATH]

Held-out simulated clips and what is true of them: the judge has to say yes to the truth, whatever the compression and
blur, and no to every clip whose words are not its own, to noise and to flat colour.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from random import Random

import numpy as np
import torch
from jaxtyping import UInt8
from scipy.ndimage import gaussian_filter

from muybridge.evaluation.judge import Judge, Seen, Verdict, compare
from muybridge.evaluation.pictures import psnr
from muybridge.evaluation.statistics import HELD_OUT, mean
from muybridge.evaluation.text import JudgedPrompt, summary, to_table
from muybridge.simulation.captions import Fact, prompt_and_facts
from muybridge.simulation.clip import simulate
from muybridge.simulation.palette import COLOURS
from muybridge.storage.video import read_mp4, write_mp4
