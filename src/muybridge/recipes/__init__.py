"""Named frozen configs: every number of the project.

One dial, four sizes: tiny (seconds), nano (two CPU cores), small and base (a GPU). And phyworld, a model of another
world.
"""

from __future__ import annotations

from muybridge.recipes.base import BASE
from muybridge.recipes.nano import NANO
from muybridge.recipes.phyworld import PHYWORLD
from muybridge.recipes.recipe import Recipe
from muybridge.recipes.small import SMALL
from muybridge.recipes.tiny import TINY

RECIPES = {recipe.name: recipe for recipe in (TINY, NANO, SMALL, BASE, PHYWORLD)}


def find(name: str) -> Recipe:
    """The recipe of a name; ValueError with the names there are."""
    if name not in RECIPES:
        raise ValueError(f"there is no recipe {name!r}: take one of {', '.join(RECIPES)}")
    return RECIPES[name]
