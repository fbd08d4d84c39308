"""Models by name: a folder here, or a repository on the Hub, over HTTP from a stand-in of it."""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from models.errors import ModelError
from models.hub import find_model
from tests.models.hub_stand_in import StandIn, files_in, hub
from tests.models.small_model import write_model
from worker.engine_client import EngineClient
from worker.row import RowDone, RowRequest

ROOT = Path(__file__).parents[2]
PICKLE = b"\x80\x04cos\nsystem\n(S'touch opened'\ntR."

# One line a name: what it leads to, or the error. A process of its own, since huggingface_hub reads its
# environment once.
SCRIPT = """
import json, sys
from models.errors import ModelError
from models.hub import find_model
for name in sys.argv[1:]:
    try:
        found = find_model(name)
        print(json.dumps({"id": found.id, "folder": str(found.folder), "owner": found.owner}))
    except ModelError as error:
        print(json.dumps({"error": type(error).__name__, "message": str(error)}))
"""


@pytest.fixture(scope="module")
def stand_in(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StandIn]:
    folder = tmp_path_factory.mktemp("upstream")
    nested, flat = write_model(folder / "nested"), write_model(folder / "flat", classes=False, flat=True)
    weights = "diffusion_pytorch_model"
    beside = {
        f"unet/{weights}.bin": PICKLE,
        "unet/evil.py": b"raise SystemExit",
        "text_encoder/x.safetensors": b"x",
    }
    only_pickles = files_in(flat)
    only_pickles[f"{weights}.bin"] = only_pickles.pop(f"{weights}.safetensors")
    nested_pickles = {**files_in(nested), f"unet/{weights}.bin": PICKLE}
    del nested_pickles[f"unet/{weights}.safetensors"]
    repositories = {
        "ada/nested-8": {**files_in(nested), **beside, "README.md": b"# A model", ".gitattributes": b""},
        "ada/flat-8": {**files_in(flat), "pytorch_model.bin": PICKLE},
        "ada/pickles": only_pickles,
        "ada/nested-pickles": nested_pickles,
        "ada/text": {"README.md": b"words", "config.json": b"{}"},
        "ada/gated": {},
    }
    with hub(repositories) as serving:
        serving.gated.add("ada/gated")
        yield serving


def environment(stand_in: StandIn, home: Path, **more: str) -> dict[str, str]:
    hidden = ("HF_TOKEN", "HF_HUB_OFFLINE", "HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE")
    kept = {name: value for name, value in os.environ.items() if name not in hidden}
    return {**kept, "HF_ENDPOINT": stand_in.url, "HF_HOME": str(home), "HF_HUB_DISABLE_TELEMETRY": "1", **more}


def found(names: list[str], variables: dict[str, str], cwd: Path = ROOT) -> list[dict[str, Any]]:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, *names],
        env={**variables, "PYTHONPATH": str(ROOT)},
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=90,
    )
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_both_layouts_are_fetched_once_and_found_again_without_the_hub(stand_in: StandIn, tmp_path: Path) -> None:
    names = ["ada/nested-8", "ada/flat-8@v1", f"ada/nested-8@{stand_in.commit('ada/nested-8')}"]
    stand_in.fetched.clear()
    first = found(names, environment(stand_in, tmp_path))
    assert [(one["id"], one["owner"]) for one in first] == [
        ("nested-8", "ada"),
        ("flat-8", "ada"),
        ("nested-8", "ada"),
    ]
    assert first[0]["folder"] == first[2]["folder"]
    fetched = set(stand_in.fetched)
    assert len(fetched) == len(stand_in.fetched), "each file once"
    assert fetched == {
        "ada/nested-8/README.md",
        "ada/nested-8/unfog.json",
        "ada/nested-8/unet/config.json",
        "ada/nested-8/unet/diffusion_pytorch_model.safetensors",
        "ada/nested-8/scheduler/scheduler_config.json",
        "ada/flat-8/config.json",
        "ada/flat-8/scheduler_config.json",
        "ada/flat-8/diffusion_pytorch_model.safetensors",
    }
    suffixes = {file.suffix for file in Path(first[0]["folder"]).rglob("*") if file.is_file()}
    assert suffixes == {".json", ".safetensors", ".md"}

    with socket.create_server(("127.0.0.1", 0)) as closed:
        nobody = f"http://127.0.0.1:{closed.getsockname()[1]}"
    variables = environment(stand_in, tmp_path, HF_ENDPOINT=nobody)
    assert found(names[:2], variables) == first[:2], "from the cache"
    assert found(names[:2], {**variables, "HF_HUB_OFFLINE": "1"}) == first[:2]


def test_what_the_hub_does_not_have_is_told_in_a_sentence(stand_in: StandIn, tmp_path: Path) -> None:
    asked = {
        "ada/nobody": "no folder ada/nobody here, and no model ada/nobody on the Hub; if it is private, set HF_",
        "ada/nested-8@v9": "ada/nested-8 has no revision v9 on the Hub",
        "ada/gated": "gated on the Hub: accept its terms there and set HF_TOKEN",
        "ada/text": "ada/text has no diffusion_pytorch_model.safetensors on the Hub",
        "a--b/c": "a--b/c is no name on the Hub",
    }
    told = found(list(asked), environment(stand_in, tmp_path))
    for said, (name, sentence) in zip(told, asked.items(), strict=True):
        assert said.get("error") == "ModelNotFound", name
        assert sentence in said["message"]


def test_a_repository_of_pickles_is_refused_with_the_way_to_convert_it_and_never_fetched(
    stand_in: StandIn, tmp_path: Path
) -> None:
    stand_in.fetched.clear()
    flat, nested = found(["ada/pickles", "ada/nested-pickles"], environment(stand_in, tmp_path))
    assert flat["error"] == nested["error"] == "UnsafeWeights"
    assert "hf download ada/pickles --local-dir pickles; python -c" in flat["message"]
    assert "UNet2DModel.from_pretrained('pickles', use_safetensors=False)" in flat["message"]
    assert "UNet2DModel.from_pretrained('nested-pickles/unet'" in nested["message"]
    assert not [name for name in stand_in.fetched if name.endswith(".bin")]


def test_without_the_hub_and_without_a_copy_the_ways_out_are_told(stand_in: StandIn, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        nobody = f"http://127.0.0.1:{closed.getsockname()[1]}"
    variables = environment(stand_in, tmp_path, HF_ENDPOINT=nobody)
    for more in ({}, {"HF_HUB_OFFLINE": "1"}):
        (told,) = found(["ada/nested-8"], {**variables, **more})
        assert told["error"] == "ModelNotFound"
        assert "the Hub cannot be reached to fetch ada/nested-8" in told["message"]
        assert "give the path of a folder" in told["message"]


def test_a_folder_of_the_name_goes_before_the_hub(stand_in: StandIn, tmp_path: Path) -> None:
    write_model(tmp_path / "ada" / "nested-8")
    stand_in.fetched.clear()
    (one,) = found(["ada/nested-8"], environment(stand_in, tmp_path), cwd=tmp_path)
    assert one == {"id": "nested-8", "folder": "ada/nested-8", "owner": None}
    assert stand_in.fetched == []


@pytest.mark.parametrize(
    "name", ["cats", "/no/such/folder", "../up/here", "a/b/c", "a/b@", "models/cats-33", "~/cats"]
)
def test_what_is_neither_a_folder_nor_a_hub_name_is_refused_without_asking(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    with pytest.raises(
        ModelError, match=r"no model folder here and no name on the Hugging Face Hub; give the path"
    ):
        find_model(name)


def test_a_worker_serves_a_model_from_the_hub_under_the_last_part_of_its_name(
    stand_in: StandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in environment(stand_in, tmp_path).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("UNFOG_MODELS", "ada/nested-8,ada/flat-8@v1")
    monkeypatch.setenv("UNFOG_MAX_BATCH_PLACES", "2")
    monkeypatch.setenv("UNFOG_TORCH_THREADS", "1")
    monkeypatch.setenv("UNFOG_LOG_LEVEL", "warning")
    engine = EngineClient()
    try:
        serving = engine.start(60)
        assert [(card.id, card.owned_by) for card in serving.cards] == [("nested-8", "ada"), ("flat-8", "ada")]
        engine.add([RowRequest("job", 0, "flat-8", "ddim", 3, 0.0, "trailing", 7, None, 1.0)])
        left: list[object] = []
        while not left:
            engine.wait(1)
            left += engine.take_left()
        assert isinstance(left[0], RowDone)
    finally:
        engine.close()
