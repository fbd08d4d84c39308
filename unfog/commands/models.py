"""`unfog models`: what a service can draw."""

import json

from unfog.terminal import Json, Url, connected


def models(url: Url = None, as_json: Json = False) -> None:
    """List the models with their samplers, classes and defaults."""
    from unfog.showing import show_table

    with connected("models", url) as client:
        found = client.models()
    if as_json:
        print(json.dumps([dict(model.raw) for model in found]))
        return
    rows = [
        (
            model.id,
            f"{model.width} × {model.height}",
            ", ".join(model.samplers),
            f"{model.default_sampler} {model.default_steps}",
            ", ".join(model.class_names) or "none",
            model.workers,
        )
        for model in found
    ]
    show_table(("model", "pixels", "samplers", "default", "classes", "workers"), rows)
