"""The words of the captions: names, sizes, colours and shapes with their synonyms, what objects and cameras do.

Where an option stands twice it is drawn twice as often.
"""

from __future__ import annotations

from muybridge.simulation.palette import COLOURS

SIZE_WORDS = {
    "small": ("small", "small", "little", "tiny"),
    "medium": ("medium", "medium-sized", "mid-sized"),
    "large": ("large", "large", "big"),
    "tall": ("tall",),
}
COLOUR_WORDS = {colour: (colour, colour) for colour in COLOURS} | {
    "teal": ("teal", "teal", "turquoise"),
    "purple": ("purple", "purple", "violet"),
}
SHAPE_WORDS = {
    "ball": ("ball", "ball", "ball", "sphere"),
    "box": ("box", "box", "cube", "block"),
    "cylinder": ("cylinder", "cylinder", "cylinder", "can"),
}
NUMBERS = ("no", "one", "two", "three", "four")
PLURALS = {"box": "boxes"}


# Third person and participle of each happening; {o} stands for the other object, {side} for "left" or "right".
VERBS: dict[str, tuple[tuple[str, str], ...]] = {
    "rest": (
        ("rests on the ground", "resting on the ground"),
        ("lies still", "lying still"),
        ("does not move", "standing still"),
        ("stays at rest", "at rest"),
    ),
    "stand": (("stands still", "standing still"), ("stands there", "standing there")),
    "drop": (
        ("falls to the ground", "falling to the ground"),
        ("drops onto the ground", "dropping onto the ground"),
        ("falls from above", "falling from above"),
        ("drops down", "dropping down"),
        ("is dropped", "being dropped"),
    ),
    "fall": (("falls", "falling"), ("falls down", "falling down"), ("drops down", "dropping down")),
    "bounce": (
        ("falls and bounces", "falling and bouncing"),
        ("drops and bounces off the ground", "dropping and bouncing off the ground"),
        ("bounces on the ground", "bouncing on the ground"),
    ),
    "throw": (
        ("is thrown to the {side}", "being thrown to the {side}"),
        ("flies to the {side} in an arc", "flying to the {side} in an arc"),
        ("is tossed to the {side}", "tossed to the {side}"),
    ),
    "roll": (
        ("rolls to the {side}", "rolling to the {side}"),
        ("rolls along the ground to the {side}", "rolling along the ground to the {side}"),
        ("rolls {side}", "rolling {side}"),
    ),
    "roll near": (
        ("rolls towards the camera", "rolling towards the camera"),
        ("rolls closer", "rolling closer"),
    ),
    "roll far": (("rolls away from the camera", "rolling away from the camera"), ("rolls away", "rolling away")),
    "slide": (
        ("slides to the {side}", "sliding to the {side}"),
        ("slides across the ground to the {side}", "sliding across the ground to the {side}"),
        ("slides {side}", "sliding {side}"),
    ),
    "slide near": (
        ("slides towards the camera", "sliding towards the camera"),
        ("slides closer", "sliding closer"),
    ),
    "slide far": (("slides away from the camera", "sliding away from the camera"), ("slides away", "sliding away")),
    "roll ramp": (("rolls down a ramp", "rolling down a ramp"), ("rolls down a slope", "rolling down a slope")),
    "slide ramp": (("slides down a ramp", "sliding down a ramp"), ("slides down a slope", "sliding down a slope")),
    "roll hit": (
        ("rolls into {o}", "rolling into {o}"),
        ("rolls and hits {o}", "rolling and hitting {o}"),
        ("hits {o}", "hitting {o}"),
        ("bumps into {o}", "bumping into {o}"),
        ("collides with {o}", "colliding with {o}"),
    ),
    "slide hit": (
        ("slides into {o}", "sliding into {o}"),
        ("slides and hits {o}", "sliding and hitting {o}"),
        ("hits {o}", "hitting {o}"),
        ("bumps into {o}", "bumping into {o}"),
        ("runs into {o}", "running into {o}"),
    ),
    "meet": (
        ("collides with {o}", "colliding with {o}"),
        ("meets {o}", "meeting {o}"),
        ("bumps into {o}", "bumping into {o}"),
    ),
    "pushed": (("is pushed away", "being pushed away"), ("is knocked away", "being knocked away")),
    "roll behind": (("rolls behind {o}", "rolling behind {o}"), ("passes behind {o}", "passing behind {o}")),
    "slide behind": (("slides behind {o}", "sliding behind {o}"), ("passes behind {o}", "passing behind {o}")),
    "roll through": (
        ("rolls behind {o}", "rolling behind {o}"),
        ("rolls behind {o}", "rolling behind {o}"),
        ("rolls behind {o} and comes out again", "rolling behind {o} and coming out again"),
        ("passes behind {o}", "passing behind {o}"),
        ("disappears behind {o} and reappears", "disappearing behind {o} and reappearing"),
    ),
    "slide through": (
        ("slides behind {o}", "sliding behind {o}"),
        ("slides behind {o} and comes out again", "sliding behind {o} and coming out again"),
        ("passes behind {o}", "passing behind {o}"),
        ("disappears behind {o} and reappears", "disappearing behind {o} and reappearing"),
    ),
    "roll hide": (
        ("rolls behind {o} and stays hidden", "rolling behind {o} and staying hidden"),
        ("rolls behind {o} and stops there", "rolling behind {o} and stopping there"),
        ("disappears behind {o}", "disappearing behind {o}"),
    ),
    "slide hide": (
        ("slides behind {o} and stays hidden", "sliding behind {o} and staying hidden"),
        ("slides behind {o} and stops there", "sliding behind {o} and stopping there"),
        ("disappears behind {o}", "disappearing behind {o}"),
    ),
    "emerge": (
        ("comes out from behind {o}", "coming out from behind {o}"),
        ("appears from behind {o}", "appearing from behind {o}"),
    ),
}

CAMERA: dict[str, tuple[str, ...]] = {
    "pan": ("the camera pans {d}", "the camera pans to the {d}", "the camera turns {d}"),
    "tilt": ("the camera tilts {d}", "the camera looks {d}"),
    "dolly": ("the camera dollies {d}", "the camera moves {d}", "the camera moves {near}"),
    "truck": ("the camera trucks {d}", "the camera moves {d}", "the camera slides to the {d}"),
    "orbit": ("the camera orbits {d}", "the camera circles to the {d}", "the camera orbits to the {d}"),
    "zoom": ("the camera zooms {d}",),
    "static": ("the camera stays still", "the camera is static", "the camera does not move", "the camera holds still"),
}
TAGS: dict[str, tuple[str, ...]] = {
    "pan": ("pan {d}", "camera panning to the {d}", "panning {d}"),
    "tilt": ("tilt {d}", "camera tilting {d}"),
    "dolly": ("dolly {d}", "camera dollying {d}"),
    "truck": ("truck {d}", "camera trucking {d}"),
    "orbit": ("orbit {d}", "camera orbiting {d}"),
    "zoom": ("zoom {d}", "camera zooming {d}"),
    "static": ("static shot", "static camera", "still camera", "locked-off shot"),
}
PASSIVE = ("rest", "stand", "pushed", "there")
HITS = ("roll hit", "slide hit", "meet")
PLACES = ("on a table", "on the ground", "on a plain ground")
WALLS = ("a wall", "a wall", "a screen")
