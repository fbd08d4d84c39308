"""What a job came to: its pictures, and how they are called as files."""

import re
from dataclasses import dataclass, field
from pathlib import Path

from unfog.answers import Job
from unfog.errors import WrongArgument

PATTERN = "{job}-{k}.png"
_PLAIN = re.compile(r"[A-Za-z0-9_-]+")


@dataclass(frozen=True)
class Generated:
    """The pictures of a job that has succeeded. pngs: one a picture; animation: an animated PNG, if asked for."""

    job: Job
    pngs: tuple[bytes, ...] = field(repr=False)
    animation: bytes | None = field(default=None, repr=False)

    def save(self, folder: str | Path = ".", pattern: str = PATTERN) -> list[Path]:
        """Write the pictures, and the animation after them; the files' paths.

        pattern: a file's name, in which {job}, {k} and {seed} stand for the job, the picture's index and its seed.
        The folder is made if it is not there; a file that is there is replaced. Raises `OSError`, and
        `WrongArgument` for a pattern that is the same name for all pictures.
        """
        check_pattern(pattern, len(self.pngs))
        names = [self._name(pattern, image.index, image.seed) for image in self.job.images]
        contents = list(self.pngs)
        if self.animation is not None:
            path = Path(pattern)
            moving = pattern if "{k}" in pattern else str(path.with_name(f"{path.stem}-{{k}}{path.suffix}"))
            names.append(self._name(moving, "animation", self.job.seed))
            contents.append(self.animation)
        paths = [Path(folder) / name for name in names]
        for path, content in zip(paths, contents, strict=True):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        return paths

    def _name(self, pattern: str, k: int | str, seed: int) -> str:
        # The id comes over the network, and must not lead to another folder.
        job = self.job.id if _PLAIN.fullmatch(self.job.id) else "job"
        return pattern.replace("{job}", job).replace("{k}", str(k)).replace("{seed}", str(seed))


def check_pattern(pattern: str, count: int) -> None:
    """Raise `WrongArgument` if the pattern is one name for so many pictures."""
    if count > 1 and "{k}" not in pattern and "{seed}" not in pattern:
        raise WrongArgument(f"{pattern} is one name for {count} pictures; write {{k}} where they differ")
