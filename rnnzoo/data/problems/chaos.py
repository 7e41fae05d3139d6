"""A chaotic series, which echo state networks are measured with."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

# Parameters of the usual chaotic form; Euler steps in one unit of time, and units that are left out at the beginning.
_DELAY, _GAIN, _DECAY, _POWER = 17, 0.2, 0.1, 10
_FINE, _SETTLED = 10, 300


def mackey_glass(rng: np.random.Generator, steps: int) -> NDArray[np.float32]:
    """The Mackey-Glass series (T, 1), centred (Mackey & Glass 1977; Jaeger & Haas 2004).

        dx/dt = 0.2 x(t - 17) / (1 + x(t - 17)^10) - 0.1 x(t)

    Args:
        rng: of the start.
        steps: T, one unit of time each.
    """
    past = _DELAY * _FINE
    series = np.zeros((steps + _SETTLED) * _FINE + past)
    series[:past] = 1.2 + 0.2 * rng.random(past).cumsum() / past
    for t in range(past, len(series)):
        late, now = series[t - past], series[t - 1]
        series[t] = now + (_GAIN * late / (1 + late**_POWER) - _DECAY * now) / _FINE
    return (series[past + _SETTLED * _FINE :: _FINE][:steps, None] - 0.95).astype(np.float32)
