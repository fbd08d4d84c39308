"""A run cut into parts and joined again: the same bytes, or a sentence that says why not."""

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from typer.testing import CliRunner

from models.errors import TrainingError
from models.training.parts import cut, join
from unfog.cli import build

MOST_MB = 0.1  # 36,000 bytes beside the header


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A folder with a large file, small ones and an empty one."""
    folder = tmp_path / "run"
    files = {
        "unet/weights.safetensors": np.random.default_rng(0).bytes(150_000),
        "README.md": b"# card\n",
        "empty": b"",
        "training/checkpoint.safetensors": b"c" * 36_000,
    }
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


def _contents(folder: Path) -> dict[str, bytes]:
    return {f.relative_to(folder).as_posix(): f.read_bytes() for f in folder.rglob("*") if f.is_file()}


def test_a_folder_comes_back_byte_for_byte_from_parts_in_any_sub_folders(run: Path, tmp_path: Path) -> None:
    parts = cut(run, tmp_path / "parts", MOST_MB)
    assert len(parts) > 4
    assert all(part.stat().st_size <= MOST_MB * 1e6 for part in parts)
    (tmp_path / "parts" / "second").mkdir()
    parts[1].rename(tmp_path / "parts" / "second" / parts[1].name)
    join(tmp_path / "parts", tmp_path / "back")
    assert _contents(tmp_path / "back") == _contents(run)


def test_a_single_file_and_a_folder_without_some_of_it_can_be_cut(run: Path, tmp_path: Path) -> None:
    cut(run / "training" / "checkpoint.safetensors", tmp_path / "one", MOST_MB)
    join(tmp_path / "one", tmp_path / "back")
    assert _contents(tmp_path / "back") == {"checkpoint.safetensors": b"c" * 36_000}
    cut(run, tmp_path / "model", MOST_MB, without=("training",))
    join(tmp_path / "model", tmp_path / "served")
    assert _contents(tmp_path / "served").keys() == {"unet/weights.safetensors", "README.md", "empty"}


def test_a_part_that_is_missing_damaged_or_of_another_set_is_named(run: Path, tmp_path: Path) -> None:
    folder, out = tmp_path / "parts", tmp_path / "back"
    parts = cut(run, folder, MOST_MB)
    whole = parts[1].read_bytes()
    parts[1].unlink()
    with pytest.raises(TrainingError, match=r"1 of \d parts are missing .*: part-001"):
        join(folder, out)
    parts[1].write_bytes(whole[: len(whole) // 2])
    with pytest.raises(TrainingError, match=r"part-001\.safetensors is not a part"):
        join(folder, out)
    parts[1].write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(TrainingError, match=r"does not come out as it was cut"):
        join(folder, out)
    parts[1].write_bytes(whole)
    cut(run / "README.md", tmp_path / "parts" / "other", MOST_MB)
    with pytest.raises(TrainingError, match="different sets"):
        join(folder, out)
    assert not any(".part" in name for name in _contents(out)), "nothing is left half written"


def test_parts_never_write_outside_the_folder(run: Path, tmp_path: Path) -> None:
    (part,) = cut(run / "README.md", tmp_path / "parts", MOST_MB)
    from safetensors import safe_open

    with safe_open(part, framework="np") as opened:
        about = opened.metadata()["unfog"]
    tensors = {key.replace("README.md", "../README.md"): t for key, t in load_file(part).items()}
    save_file(tensors, part, metadata={"unfog": about.replace("README.md", "../README.md")})
    with pytest.raises(TrainingError, match="outside the folder"):
        join(tmp_path / "parts", tmp_path / "back")
    assert not (tmp_path / "README.md").exists()


def test_the_commands_say_what_they_did_and_what_is_wrong(run: Path, tmp_path: Path) -> None:
    cli, parts = CliRunner(), str(tmp_path / "parts")
    done = cli.invoke(build(), ["parts", "cut", str(run), "--out", parts, "--most-mb", "0.1"])
    assert (done.exit_code, "parts, 0.2 MB" in done.stdout) == (0, True), done.output
    again = cli.invoke(build(), ["parts", "cut", str(run), "--out", parts])
    assert (again.exit_code, "already holds parts" in again.stderr) == (1, True)
    back = cli.invoke(build(), ["parts", "join", parts, "--out", str(tmp_path / "back")])
    assert (back.exit_code, "4 files, every checksum right" in back.stdout) == (0, True), back.output
    nothing = cli.invoke(build(), ["parts", "join", str(run / "unet"), "--out", str(tmp_path / "b")])
    assert nothing.exit_code == 1
    assert "Traceback" not in nothing.output
