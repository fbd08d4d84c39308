"""Answers as the documentation shows them; held to the models by tests."""

from typing import Any

_ID = "job_5e3f1c0a9b7d2468ace01357"
_URL = f"/v1/jobs/{_ID}"
REQUEST: dict[str, Any] = {
    "model": "cats-32",
    "sampler": "ddim",
    "steps": 50,
    "num_images": 1,
    "seed": 7,
    "class_label": "calico",
    "guidance_scale": 1.0,
    "eta": 0.0,
    "timestep_spacing": "trailing",
    "scale": 8,
    "init_image": None,
    "strength": None,
    "seed_to": None,
    "seed_mix": None,
    "animation": False,
    "preview": True,
    "cancel_on_disconnect": False,
    "webhook_url": None,
    "ttl_s": 3600,
    "priority": "normal",
}
"""A request with every choice made."""

REQUESTS: dict[str, dict[str, Any]] = {
    "a picture": {"value": {"sampler": "ddim", "steps": 50, "seed": 7, "scale": 8}},
    "a class, guided": {"value": {"class_label": "calico", "guidance_scale": 2.0, "num_images": 4}},
    "between two seeds": {"value": {"seed": 7, "seed_to": 8, "seed_mix": 0.25}},
    "whatever the model has": {"value": {}},
}
"""Bodies of `POST /v1/jobs`."""

JOB: dict[str, Any] = {
    "id": _ID,
    "object": "job",
    "status": "running",
    "model": "cats-32",
    "model_fingerprint": "376e075b9630e36f",
    "engine": "cpu-float32-strict-0",
    "request": REQUEST,
    "seed": 7,
    "attempt": 1,
    "progress": {"completed": 20, "total": 50, "fraction": 0.4},
    "queue_position": None,
    "eta_s": 1.5,
    "created_at": "2026-01-01T12:00:00.000Z",
    "started_at": "2026-01-01T12:00:00.250Z",
    "finished_at": None,
    "expires_at": None,
    "images": [],
    "metadata": {"wall": "north"},
    "error": None,
    "urls": {"self": _URL, "events": f"{_URL}/events", "cancel": f"{_URL}/cancel", "animation": None},
}
"""A job that runs."""

COST: dict[str, Any] = {
    "object": "cost",
    "model": "cats-32",
    "evaluations": 50,
    "queue_position": 3,
    "eta_s": 4.5,
    "request": REQUEST,
}

SAMPLER: dict[str, Any] = {
    "name": "ddim",
    "object": "sampler",
    "summary": "implicit; eta adds noise back",
    "takes_eta": True,
    "max_steps": 1000,
    "evaluations_per_step": 1,
    "parameters": {
        "steps": {"minimum": 1, "maximum": 1000, "default": None},
        "eta": {"minimum": 0, "maximum": 1, "default": 0},
    },
}

MODEL: dict[str, Any] = {
    "id": "cats-32",
    "object": "model",
    "created": 1767268800,
    "owned_by": "unfog",
    "fingerprint": "376e075b9630e36f",
    "width": 32,
    "height": 32,
    "class_names": ["black", "calico"],
    "guided": True,
    "default_sampler": "ddim",
    "default_steps": 50,
    "default_guidance_scale": 1.0,
    "timestep_spacing": "trailing",
    "num_train_timesteps": 1000,
    "samplers": ["ddim"],
    "sampler_details": [SAMPLER],
    "limits": {"max_steps": 1000, "max_images": 16, "max_scale": 16, "max_ttl_s": 86400, "max_evaluations": 16000},
    "quality": [],
    "log_snr": [9.2102, 6.1216, 5.0682],
    "max_places": 16,
    "workers": 1,
    "rate": None,
}

STATS: dict[str, Any] = {
    "object": "stats",
    "queued_jobs": 3,
    "queued_evaluations": 150,
    "running_jobs": 1,
    "running_evaluations": 50,
    "workers": 1,
    "models": {
        "cats-32": {
            "queued_jobs": 3,
            "queued_evaluations": 150,
            "running_jobs": 1,
            "running_evaluations": 50,
            "workers": 1,
            "rate": 40.0,
        }
    },
}
