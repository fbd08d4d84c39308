"""The ways to run a network on this machine, by batch size: evaluations a second, and each over plain torch.

    python -m bench.networks [--forms off,auto,openvino] [--sizes 1,2,4,8,16,32] [--seconds 1] [--repeats 5]

The forms are values of UNFOG_COMPILE. All are in one process, and take turns within a repeat; nothing is padded.
"""

import time
from pathlib import Path

import torch

from bench.report import Result, options_of, over, spread, tell
from jobs.settings import Settings
from models.folder import Model, load_model
from worker.build import choose_precision, use_threads
from worker.executor import Forward
from worker.network import network_of

PLAIN = "off"


@torch.inference_mode()
def rate(model: Model, forward: Forward, size: int, seconds: float) -> float:
    """Evaluations a second in batches of `size`, for about so long."""
    draw = torch.Generator().manual_seed(size)
    x = torch.randn((size, model.channels, model.height, model.width), generator=draw)
    timesteps = torch.full((size,), 500)
    labels = torch.arange(size) % len(model.class_names) if model.class_names else None
    forward(x, timesteps, labels)
    done, started = 0, time.perf_counter()
    while (took := time.perf_counter() - started) < seconds:
        forward(x, timesteps, labels)
        done += size
    return done / took


def measure(folder: Path, forms: list[str], sizes: list[int], seconds: float, repeats: int) -> Result:
    """Rates by form and size, a value for each repeat. Raises `RuntimeError` for a form that cannot be had."""
    built: dict[str, tuple[Model, Forward]] = {}
    for form in dict.fromkeys([PLAIN, *forms]):
        settings = Settings(compile=form, batching="fast", device="cpu", max_batch_places=max(sizes))
        use_threads(settings)
        model = load_model(folder, device="cpu", dtype=torch.float32)  # a form may change its network
        network = network_of(model, choose_precision(settings), settings)
        if form not in (PLAIN, "auto") and network.kind == "plain":
            raise RuntimeError(f"UNFOG_COMPILE={form} cannot be had here; the log says why")
        built[form] = model, network.forward
    rates: dict[str, dict[int, list[float]]] = {form: {size: [] for size in sizes} for form in built}
    for _ in range(repeats):
        for size in sizes:
            for form, (model, forward) in built.items():
                rates[form][size].append(rate(model, forward, size, seconds))
    ratios = {
        f"{form} over {PLAIN}, {size}": over(by_size[size], rates[PLAIN][size])
        for form, by_size in rates.items()
        for size in sizes
        if form != PLAIN
    }
    return {"row_evals_per_s": rates, "ratios": ratios}


def main() -> None:
    """Measure and tell."""
    parser = options_of(__doc__, repeats=5)
    parser.add_argument("--forms", default="off,auto,openvino")
    parser.add_argument("--sizes", default="1,2,4,8,16,32")
    parser.add_argument("--seconds", type=float, default=1.0)
    options = parser.parse_args()
    sizes = [int(size) for size in options.sizes.split(",")]
    result = measure(options.model, options.forms.split(","), sizes, options.seconds, options.repeats)
    rates = result["row_evals_per_s"]
    others = [form for form in rates if form != PLAIN]
    rows = [
        (
            str(size),
            *(spread(by_size[size], 0) for by_size in rates.values()),
            *(spread(result["ratios"][f"{form} over {PLAIN}, {size}"]) for form in others),
        )
        for size in sizes
    ]
    tell("networks", ("batch", *rates, *(f"{form} over {PLAIN}" for form in others)), rows, result)


if __name__ == "__main__":
    main()
