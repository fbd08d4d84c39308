"""Everything about a run that changes: what a checkpoint holds."""

from dataclasses import dataclass, field
from typing import Any

import torch
from diffusers.training_utils import EMAModel
from torch import Tensor

from models.training.card import Curve
from models.training.settings import Settings


@dataclass
class RunState:
    """Network, average, optimizer and counters."""

    network: Any
    ema: Any
    optimizer: torch.optim.AdamW
    step: int = 0
    elapsed_s: float = 0.0
    curve: Curve = field(default_factory=list)
    pending: list[float] = field(default_factory=list)  # losses since the last row of the curve

    @classmethod
    def start(cls, network: Any, settings: Settings) -> "RunState":
        optimizer = torch.optim.AdamW(
            network.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay, fused=True
        )
        return cls(network, EMAModel(network.parameters(), decay=settings.ema_decay, foreach=True), optimizer)

    def pack(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Tensors and JSON for a checkpoint, the states of torch's global generators among them."""
        tensors = {f"network.{name}": t for name, t in self.network.state_dict().items()}
        tensors |= {f"ema.{k}": t for k, t in enumerate(self.ema.shadow_params)}
        for k, moments in self.optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer.{k}.{name}": t for name, t in moments.items()}
        tensors["rng.cpu"] = torch.get_rng_state()
        if self.network.device.type == "cuda":
            tensors["rng.cuda"] = torch.cuda.get_rng_state()
        state = {
            "step": self.step,
            "elapsed_s": self.elapsed_s,
            "curve": self.curve,
            "pending": self.pending,
            "ema_step": self.ema.optimization_step,
        }
        return tensors, state

    def unpack(self, tensors: dict[str, Tensor], state: dict[str, Any]) -> None:
        """Take over what `pack` gave."""
        prefix = "network."
        self.network.load_state_dict({n[len(prefix) :]: t for n, t in tensors.items() if n.startswith(prefix)})
        for k, shadow in enumerate(self.ema.shadow_params):
            shadow.copy_(tensors[f"ema.{k}"])
        self.ema.optimization_step = state["ema_step"]
        moments: dict[int, dict[str, Tensor]] = {}
        parameters = list(self.network.parameters())
        for name, tensor in tensors.items():
            if name.startswith("optimizer."):
                _, index, key = name.split(".")
                one = parameters[int(index)]
                # The fused update wants the moments to lie in memory as their parameter does.
                laid = torch.empty_like(one).copy_(tensor) if tensor.shape == one.shape else tensor
                moments.setdefault(int(index), {})[key] = laid
        groups = self.optimizer.state_dict()["param_groups"]
        self.optimizer.load_state_dict({"state": moments, "param_groups": groups})
        self.step, self.elapsed_s = state["step"], state["elapsed_s"]
        self.curve, self.pending = [tuple(row) for row in state["curve"]], state["pending"]
        torch.set_rng_state(tensors["rng.cpu"])
        if "rng.cuda" in tensors and self.network.device.type == "cuda":
            torch.cuda.set_rng_state(tensors["rng.cuda"])
