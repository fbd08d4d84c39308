"""A whole evaluation: classifier, pictures from every setting, figures, and the files they end in."""

import json
import math
import platform
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch

from models.errors import EvaluationError
from models.evaluation.classifier import Classifier, Training, classifier_for
from models.evaluation.data import EvaluationData, check_classes, check_fits
from models.evaluation.ddim_paper import beside_paper, paper_plan
from models.evaluation.draw import batch_of, device_of, draw, passes_per_s
from models.evaluation.inception import NOT_ASKED, fid, load_metric
from models.evaluation.measures import Reference
from models.evaluation.neighbours import NEIGHBOURS
from models.evaluation.pictures import GRID_SEEDS, each_class, save_classes, save_grid, save_pairs
from models.evaluation.plan import Planned, Setting, Wish, images_within, plan, settings_for
from models.evaluation.report import SCHEMA, Quality, write_report
from models.evaluation.store import Row, Store
from models.folder import Model


@dataclass(frozen=True)
class Watch:
    """Who is told: `say` gets sentences, `count(done, of, what)` gets updates or passes through the network."""

    say: Callable[[str], object] = lambda sentence: None
    count: Callable[[int, int, str], object] = lambda done, of, what: None


class Evaluation:
    """A model, its pictures and its classifier, and where the results go.

    Raises EvaluationError where they do not fit together.
    """

    def __init__(
        self,
        model: Model,
        data: EvaluationData,
        out: Path,
        watch: Watch | None = None,
        training: Training | None = None,
    ) -> None:
        check_classes(model)
        check_fits(model, data)
        self.model, self.data, self.out, self.watch = model, data, out, watch or Watch()
        self.device = device_of(model)
        self.classifier = self._classifier(training)
        self.reference = Reference.of(data, self.classifier)
        about = {"model": model.fingerprint, "classifier": self.classifier.fingerprint, "schema": SCHEMA}
        self.store = Store(out / "evaluation" / "settings.json", about)
        if self.store.dropped:
            self.watch.say(f"The figures in {out} are of another model or other pictures: starting anew.")

    def _classifier(self, training: Training | None) -> Classifier:
        def on_update(done: int, of: int) -> None:
            self.watch.count(done, of, "classifier")

        found = classifier_for(self.data, self.out / "evaluation", training, self.device, on_update)
        self.watch.say(f"The classifier names {found.accuracy:.1%} of the held-out pictures rightly.")
        return found

    def measure(self, wish: Wish, inception: Path | None = None) -> Quality:
        """Measure what is not yet measured; write quality.json, .md and .png, grid.png and pairs.png.

        `inception`: weights for the FID, see `models.evaluation.inception`. Returns what quality.json holds.

        Raises:
            EvaluationError, InvalidSampling: the model cannot do what is wished.
        """
        settings = settings_for(self.model, wish)
        images = self._images(wish, settings)
        planned = plan(settings, images, len(self.model.class_names))
        table = self._table(images) if wish.ddim_paper else []
        self._make_rows(planned, table, wish)
        floors = {images: self._floor(images) for images in sorted({one.images for one in planned}, reverse=True)}
        quality: Quality = {
            "measured": self._measured(planned[0], floors, inception),
            "settings": self._rows(planned, floors),
        }
        if table:
            rows = [row for row in map(self.store.row, table) if row is not None]
            quality["ddim_paper"] = beside_paper(self.model, rows, self._floor(table[0].images)["frechet"])
        write_report(self.out, quality)
        return quality

    def _table(self, images: int) -> list[Planned]:
        return paper_plan(self.model, images, len(self.model.class_names))

    def _images(self, wish: Wish, settings: Sequence[Setting]) -> int:
        """Images of a setting that is not too dear: as many as wished for, or as the minutes allow.

        Kept with the rows, since the same wish must come to the same images when a run goes on.
        """
        name = json.dumps(asdict(wish))
        images = self.store.images_for(name)
        if images is None:
            images = wish.images
            if wish.minutes is not None:
                also = self._table if wish.ddim_paper else lambda images: []
                images = images_within(settings, wish.images, wish.minutes * 60 * passes_per_s(self.model), also)
            self.store.keep_images(name, images)
        return images

    def _make_rows(self, planned: Sequence[Planned], table: Sequence[Planned], wish: Wish) -> None:
        missing = [one for one in (*planned, *table) if self.store.row(one) is None]
        if not missing:
            return
        of, rate = sum(one.passes for one in missing), passes_per_s(self.model)
        self.watch.say(
            f"{len(missing)} of {len(planned) + len(table)} settings to measure, {planned[0].images} images each, "
            f"fewer of dear ones: {of} passes through the network at about {rate:.0f} a second, "
            f"{of / rate / 60:.1f} minutes."
        )
        done, deadline = 0, time.monotonic() + 60 * (wish.minutes or math.inf)
        for one in missing:
            if done and time.monotonic() > deadline:
                self.watch.say("The minutes are over; the same command goes on with the settings that are left.")
                return
            row = self._row(one, done, of, one is planned[0])
            self.store.keep_row(one, row)
            self.watch.say(_said(row))
            done += one.passes

    def _row(self, planned: Planned, before: int, of: int, is_default: bool) -> Row:
        """Figures of one setting. The model's default also leaves its grids and its nearest pairs."""
        setting, classes = planned.setting, len(self.model.class_names)
        shown = max(GRID_SEEDS, classes * each_class(classes))
        count = max(planned.images, shown) if is_default else planned.images
        started = time.monotonic()
        pictures = draw(self.model, setting, count, lambda n: self.watch.count(before + n, of, setting.key))
        seconds = time.monotonic() - started
        measured = pictures.first(planned.images)
        seen = self.reference.look_at(measured)
        if is_default:
            save_grid(self.out / "grid.png", pictures.pixels)
            save_classes(self.out / "classes.png", pictures, classes)
            save_pairs(self.out / "pairs.png", measured.pixels, seen, self.reference)
        figures, errors = self.reference.figures(seen)
        return {
            **asdict(setting),
            "images": planned.images,
            **figures,
            "seconds_per_image": seconds / count,
            "standard_error": errors,
        }

    def _floor(self, images: int) -> Row:
        """The figures of held-out pictures, as many as a setting has images if there are so many."""
        some = self.reference.held_out.part(np.arange(min(images, len(self.data.held_out))))
        figures, errors = self.reference.figures(some)
        return {"images": len(some.agrees), **figures, "standard_error": errors}

    def _rows(self, planned: Sequence[Planned], floors: dict[int, Row]) -> list[Row]:
        """The rows that are done, each set beside held-out pictures of the same number."""
        rows = []
        for one in planned:
            row = self.store.row(one)
            if row is not None:
                excess = row["frechet"] - floors[one.images]["frechet"]
                comparable = one.images == planned[0].images
                rows.append(
                    row | {"frechet_excess": excess, "comparable": comparable, "default": one is planned[0]}
                )
        return rows

    def _measured(self, default: Planned, floors: dict[int, Row], inception: Path | None) -> Row:
        return {
            "schema": SCHEMA,
            "model": self.model.id,
            "model_fingerprint": self.model.fingerprint,
            "class_names": list(self.data.class_names),
            "training_pictures": self.data.training_says,
            "held_out_pictures": self.data.held_out_says,
            "reference_images": len(self.data.training),
            "images": default.images,
            "features": self.reference.features.shape[1],
            "neighbours": NEIGHBOURS,
            "classifier": {
                "held_out_accuracy": self.classifier.accuracy,
                "held_out_images": len(self.data.held_out),
                "fingerprint": self.classifier.fingerprint,
            },
            "floor": list(floors.values()),
            "fid": self._fid(default, inception),
            "machine": {
                "device": self.device,
                "processor": torch.cuda.get_device_name() if self.device == "cuda" else platform.machine(),
                "threads": torch.get_num_threads(),
                "torch": torch.__version__,
                "batch": batch_of(self.model),
                "precision": str(next(self.model.network.parameters()).dtype).removeprefix("torch."),
            },
        }

    def _fid(self, default: Planned, weights: Path | None) -> Row:
        """The FID of the default setting to the training pictures, or why there is none."""
        if weights is None:
            return {"value": None, "images": 0, "reason": NOT_ASKED}
        try:
            metric = load_metric(weights)
        except EvaluationError as error:
            self.watch.say(f"No FID: {error}.")
            return {"value": None, "images": 0, "reason": f"Not measured: {error}."}
        pixels = draw(self.model, default.setting, default.images).pixels
        value = fid(metric, pixels, self.data.training.pixels[: default.images])
        return {"value": value, "images": default.images, "reason": None}


def _said(row: Row) -> str:
    return (
        f"{row['sampler']}, {row['steps']} steps, guidance {row['guidance_scale']:g}, {row['images']} images: "
        f"Fréchet distance {row['frechet']:.3g}, precision {row['precision']:.2f}, recall {row['recall']:.2f}, "
        f"class agreement {row['class_agreement']:.2f}, {row['seconds_per_image']:.3f} s an image."
    )
