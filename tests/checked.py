"""While tests run, every function of the rooms named here is held to its annotations: shapes, types, what comes back.

Not so the simulator, whose kernels numba reads, and not the command line, which tyro reads.
"""

from __future__ import annotations

import inspect
import sys

import pytest
from beartype import BeartypeConf, beartype
from jaxtyping import install_import_hook
from torch import nn

ROOMS = ("types", "flow", "tokenizer", "conditioning", "transformer", "sampler", "data", "training", "distillation")
JOURNEYS = ("generate", "train", "distil")

checked = beartype(conf=BeartypeConf(is_pep484_tower=True))  # an int is a float, as it is for mypy


def check_shapes() -> None:
    """Has to come before the package's first import."""
    assert "muybridge.types" not in sys.modules, "the package was imported before its shapes could be checked"
    install_import_hook([f"muybridge.{room}" for room in ROOMS + JOURNEYS], "checked.checked")


def unchecked(monkeypatch: pytest.MonkeyPatch, *modules: str) -> None:
    """The modules' functions and methods as they are without checks, for what looks into them."""
    for name in modules:
        for key, value in list(vars(sys.modules[name]).items()):
            if inspect.isfunction(value):
                monkeypatch.setattr(sys.modules[name], key, inspect.unwrap(value))
            elif inspect.isclass(value) and value.__module__ == name and issubclass(value, nn.Module):
                for method, function in vars(value).copy().items():
                    if inspect.isfunction(function):
                        monkeypatch.setattr(value, method, inspect.unwrap(function))
