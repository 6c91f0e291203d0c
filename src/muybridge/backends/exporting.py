"""A model of ours as a folder that diffusers opens: `muybridge export --format diffusers`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from muybridge.generate import Model
from muybridge.storage.atomic import new_folder
from muybridge.storage.pipelines import INDEX, OURS

if TYPE_CHECKING:
    from muybridge.backends.native import MuybridgePipeline

PROGRAM = '''"""Opens this folder for diffusers. The networks and the sampler are those of the package muybridge."""

from muybridge.backends.native import MuybridgePipeline

__all__ = ["MuybridgePipeline"]
'''

PAGE = """---
library_name: diffusers
license: apache-2.0
pipeline_tag: text-to-video
---

# {name} for diffusers

The Muybridge model {name} ({known_by}). It needs the package: `pip install "muybridge[open-models]"`. In this folder:

```python
import muybridge, torch
from diffusers import DiffusionPipeline
pipe = DiffusionPipeline.from_pretrained(".", custom_pipeline="pipeline", trust_remote_code=True)
frames = pipe("a red ball and a blue box", generator=torch.Generator().manual_seed(7)).frames[0]
muybridge.write_mp4("clip.mp4", (frames * 255).round().astype("uint8"), {fps:g})
```

`trust_remote_code` lets diffusers run `pipeline.py`, which imports the class and does nothing else. Without it:
`from muybridge.backends.native import MuybridgePipeline`, then `MuybridgePipeline.from_pretrained(".")`.

The frames are those of `muybridge generate --seed 7`, before the watermark. Left out, all is as the model learnt:
{frames} frames of {width}x{height}, {steps} steps, guidance {guidance:g}, {drafts} drafts of the first frame{seen}.
Other arguments: `negative_prompt`, `image`, `num_frames`, `height`, `width`, `frame_rate`, `num_inference_steps`,
`guidance_scale`, `num_drafts`, `output_type` ("np", "pt", "pil").

{card}"""


def export_pipeline(model: Model, folder: Path) -> MuybridgePipeline:
    """Writes the folder, as a whole, and opens what was written.

    ValueError if it cannot be written, or holds anything but such a pipeline.
    """
    from muybridge.backends.native import MuybridgePipeline
    from muybridge.backends.opening import quietly

    name, settings = Path(model.name).name, model.settings
    witnessed = model.witness is not None
    page = PAGE.format(
        name=name,
        known_by=model.hash,
        **model.config["trained"],
        steps=settings.steps,
        guidance=settings.guidance,
        drafts=settings.drafts if witnessed else "no",
        seen=", of which its witness chooses one" if witnessed and settings.drafts else "",
        card=model.card,
    )
    with new_folder(folder, replaceable=_is_ours) as temporary, quietly():
        MuybridgePipeline.of(model, name).save_pretrained(temporary)
        (temporary / "pipeline.py").write_text(PROGRAM, encoding="utf-8")
        (temporary / "README.md").write_text(page, encoding="utf-8")
    with quietly():
        pipe: MuybridgePipeline = MuybridgePipeline.from_pretrained(str(folder))
    return pipe


def _is_ours(folder: Path) -> bool:
    try:
        return bool(json.loads((folder / INDEX).read_text(encoding="utf-8")).get("_class_name") == OURS)
    except (OSError, ValueError, AttributeError):
        return False
