"""Files that clients hand in, each under the digest of what was handed in; in the store too, if machines share one."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from muybridge.serving.settings import ServerSettings
from muybridge.serving.stores import store_of
from muybridge.storage.atomic import new_file


@dataclass(frozen=True)
class Shelf:
    """A kind of files: the folder they lie in, and the end of their names."""

    folder: str
    ending: str

    def path(self, digest: str, settings: ServerSettings) -> Path:
        """Where a file lies on this machine. The digest is one that we made; else it is a programmer's mistake."""
        assert len(digest) == 64, digest
        assert not set(digest) - set("0123456789abcdef"), digest
        return settings.home / self.folder / f"{digest}{self.ending}"

    def place(self, digest: str, file: Path, settings: ServerSettings) -> None:
        """Keeps a copy of a file. OSError if disk or store do not take it."""
        target = self.path(digest, settings)
        if settings.store:
            shared = file.with_name(f"shared{self.ending}")
            shutil.copyfile(file, shared)
            store_of(settings).put(f"{self.folder}/{target.name}", shared)
        _write(file.read_bytes(), target)

    def local(self, digest: str, settings: ServerSettings) -> Path:
        """Where a file lies on this machine, fetched from the store if it was handed in elsewhere."""
        path = self.path(digest, settings)
        if not path.exists():
            found = store_of(settings).read(f"{self.folder}/{path.name}")
            if found is None:
                raise OSError(f"{path.name} of {self.folder} is gone from the store")
            _write(found[1], path)
        return path


def _write(content: bytes, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        with new_file(target) as temporary:
            temporary.write_bytes(content)
    except ValueError as error:  # a full disk is no fault of the file
        raise OSError(str(error)) from error
