"""The `data` and `model` sections of a controller."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from rnnzoo.data.config import DataConfig
from rnnzoo.errors import ConfigError
from rnnzoo.tasks.cells import RowModelConfig
from rnnzoo.util.ranges import Count, Size


@dataclass(frozen=True, kw_only=True)
class ControlConfig(DataConfig):
    """Observations of a body, and the torques of an expert.

    Args:
        input: `control`.
        seconds: of an episode in which the model drives.
        settle: seconds at its beginning that do not count.
        rounds: how often in the training the model drives, and the expert's answers to what it met are added (DAgger,
            Ross, Gordon & Bagnell 2011); 0: cloning of the recorded ways alone.
        reinforce: epochs at the end in which the model learns from the errors of its own drives (REINFORCE, Williams
            1992), without the expert.

    Raises:
        ConfigError: nothing is left to count.
    """

    input: Literal["control"] = "control"
    seconds: float = 2.0
    settle: float = 0.5
    rounds: Count = 0
    reinforce: Count = 0

    def __post_init__(self) -> None:
        if not 0 <= self.settle < self.seconds <= 60:
            raise ConfigError(
                f"expected 0 <= data.settle < data.seconds <= 60; received {self.settle} and {self.seconds}"
            )


@dataclass(frozen=True)
class ControllerConfig(RowModelConfig):
    """Recurrent layers between layers that treat each step by itself.

    Args:
        layers: recurrent layers; 0: a policy without memory.
        width: of the layer before and of the one after the recurrent ones.
    """

    layers: Count = 1
    width: Size = 64


DATA = {"control": ControlConfig}
MODEL = ControllerConfig
