"""Recipes of training, each run for the same short time on the same pictures, and compared.

    python -m bench.recipes --data pictures.tar.xz/train --held-out pictures.tar.xz/test --out runs/recipes

Each recipe is a preset with some settings changed. Equal time, so a recipe that does fewer updates in it pays for
that. The learning rate falls to zero within the minutes, so what is compared is whole short runs, not beginnings.
Measured with the averaged weights: the error in the noise on held-out pictures, with noise and timesteps that are
the same for all, and the Fréchet distance of drawn pictures in the features of one classifier. What is done is not
done again: the same command goes on. Last line: JSON.
"""

import argparse
import json
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

from bench.machine import describe
from models.evaluation.classifier import TRAININGS, classifier_for
from models.evaluation.data import pictures_of
from models.evaluation.draw import draw
from models.evaluation.measures import Reference
from models.evaluation.plan import Setting
from models.evaluation.store import write_json
from models.folder import load_model
from models.pictures.folder import FolderSource
from models.training.run import train
from models.training.settings import Settings, network_of, preset
from models.training.validation import Validation

RECIPES: dict[str, dict[str, Any]] = {
    "preset": {},
    "min-snr": {"min_snr_gamma": 5.0},
    "paired": {"pair_noise": True},
    "min-snr, paired": {"min_snr_gamma": 5.0, "pair_noise": True},
    "epsilon": {"prediction_type": "epsilon"},
    "batch 512": {"batch": 512, "learning_rate": 8e-4},
    "rate 1e-3": {"learning_rate": 1e-3},
}
"""What differs from the preset, by name."""

HELD_OUT = 2000  # held-out pictures behind the validation loss

Result = dict[str, Any]


@dataclass(frozen=True)
class Trial:
    """What all recipes have in common."""

    base: Settings
    source: FolderSource
    reference: Reference
    validation: Validation
    images: int
    steps: int


def main() -> None:
    """Run the recipes that are asked for and not yet done; print a table and a line of JSON."""
    asked = _arguments()
    budget = {"minutes": asked.minutes} if asked.updates is None else {"steps": asked.updates}
    base = preset(asked.preset, samples_a_class=1, **budget)
    if asked.network is not None:
        base = replace(base, network=network_of(asked.network))
    if asked.batch is not None:
        base = replace(base, batch=asked.batch)
    trial = _trial(base, asked)
    results: dict[str, Result] = {}
    for name in [part.strip() for part in asked.recipes.split(";")]:
        kept = asked.out / name.replace(", ", "-").replace(" ", "-")
        results[name] = _result(kept, replace(trial.base, **RECIPES[name]), trial)
        print(line(name, results[name]), flush=True)
    print(table(results))
    print(json.dumps({"machine": describe(), "settings": base.to_json(), "recipes": results}))


def line(name: str, result: Result) -> str:
    """One recipe as a row of a Markdown table."""
    return (
        f"| {name} | {result['updates']} | {result['pictures_per_s']:.0f} | {result['validation_loss']:.4f} "
        f"| {result['frechet']:.3g} ± {result['frechet_error']:.1g} |"
    )


def table(results: dict[str, Result]) -> str:
    """All of them, the least validation loss first."""
    best_first = sorted(results, key=lambda name: results[name]["validation_loss"])
    head = [
        "| recipe | updates | img/s | error in the noise, held out | Fréchet distance |",
        "|---|---:|---:|---:|---:|",
    ]
    return "\n".join([*head, *(line(name, results[name]) for name in best_first)])


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--held-out", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--preset", default="cifar10")
    parser.add_argument("--network", help="of another preset, to rehearse")
    parser.add_argument("--batch", type=int, help="to rehearse")
    parser.add_argument("--minutes", type=float, default=1.0)
    parser.add_argument("--updates", type=int, help="equal updates in place of equal time")
    parser.add_argument("--size", type=int, default=32)
    parser.add_argument("--classifier", default="small", choices=sorted(TRAININGS))
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--steps", type=int, default=20, help="of ddim")
    parser.add_argument("--recipes", default=";".join(RECIPES), help=f"with ; between, of: {'; '.join(RECIPES)}")
    return parser.parse_args()


def _trial(base: Settings, asked: argparse.Namespace) -> Trial:
    source = FolderSource(asked.data, asked.size, base.seed)
    data = pictures_of(source, FolderSource(asked.held_out, asked.size))
    device = "cuda" if torch.cuda.is_available() else "cpu"
    classifier = classifier_for(data, asked.out / "evaluation", TRAININGS[asked.classifier], device)
    print(f"classifier: {classifier.accuracy:.1%} of held-out pictures named rightly", flush=True)
    held_out = data.held_out.first(HELD_OUT)
    return Trial(
        base,
        source,
        Reference.of(data, classifier),
        Validation.of(held_out.pixels, held_out.labels),
        asked.images,
        asked.steps,
    )


def _result(out: Path, settings: Settings, trial: Trial) -> Result:
    kept = out / "result.json"
    if kept.exists():
        found: Result = json.loads(kept.read_text(encoding="utf-8"))
        return found
    folder = out / "model"
    started = time.monotonic()
    end = train(settings, trial.source, folder, say=lambda sentence: print(sentence, flush=True))
    seconds = time.monotonic() - started
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model = load_model(folder, device=device)
    loss = trial.validation.loss(
        model.network,
        torch.from_numpy(model.schedule.alphas_cumprod.copy()),
        model.schedule.prediction_type,
        bool(model.class_names),
    )
    setting = Setting("ddim", trial.steps, 1.0, trial.steps)
    figures, errors = trial.reference.figures(trial.reference.look_at(draw(model, setting, trial.images)))
    result = {
        "updates": end.step,
        "pictures_per_s": end.step * settings.batch / end.elapsed_s,
        "seconds_in_all": seconds,
        "validation_loss": loss,
        "frechet": figures["frechet"],
        "frechet_error": errors["frechet"],
        "class_agreement": figures["class_agreement"],
        "setting": asdict(setting),
        "images": trial.images,
    }
    write_json(kept, result)
    return result


if __name__ == "__main__":
    main()
