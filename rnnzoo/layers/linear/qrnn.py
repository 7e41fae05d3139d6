"""Quasi-recurrent networks: gates from a convolution over the last inputs, and a recurrence without weights."""

from __future__ import annotations

from typing import Any, ClassVar

import keras
from keras import ops

from rnnzoo.layers.linear.base import LinearCell, ScanRNN
from rnnzoo.layers.linear.scan import hold, linear_scan
from rnnzoo.layers.refusals import positive, refused

# Each is named by its gates, in the order of their columns after those of the candidate.
POOLINGS = ("f", "fo", "ifo")


@keras.saving.register_keras_serializable(package="rnnzoo")
class QRNNCell(LinearCell):
    """Quasi-recurrent unit (Bradbury et al. 2017, Quasi-Recurrent Neural Networks).

        z, i, f, o = act(X W_z), sigmoid(X W_i), sigmoid(X W_f), sigmoid(X W_o),   X = x[t-K+1] ... x[t]
        pooling "f":    c[t] = f c[t-1] + (1 - f) z,   h[t] = c[t]
        pooling "fo":   c[t] = f c[t-1] + (1 - f) z,   h[t] = o c[t]
        pooling "ifo":  c[t] = f c[t-1] + i z,         h[t] = o c[t]

    Args:
        units: U.
        window: K, how many inputs the gates read.
        pooling: which gates there are.
        activation: the paper's is tanh.
        kwargs: see `LinearCell`. `kernel` (K, D, n U) is that of a causal convolution, its last row for x[t]; columns
            of the weights lie in the order z, i, f, o.

    State: c (B, U), and K - 1 times what the inputs so far add to the gates of a later step, (B, n U). Output: h.
    Cost of a step: K n U D multiply-adds, n = 2, 3, 4 by pooling. Parallel form: a convolution and a scan.

    Raises:
        ValueError: a window below one, a pooling that does not exist.
    """

    absent: ClassVar[tuple[str, ...]] = ("recurrent_dropout",)
    options: ClassVar[tuple[str, ...]] = ("window", "pooling")

    def __init__(self, units: int, *, window: int = 2, pooling: str = "fo", **kwargs: Any):
        super().__init__(units, **kwargs)
        positive(self, window=window)
        if pooling not in POOLINGS:
            raise refused(f"QRNNCell: expected pooling among {', '.join(POOLINGS)}. Received: pooling={pooling!r}")
        self.window, self.pooling = window, pooling

    @property
    def width(self) -> int:
        """n U: of the candidate and all gates."""
        return (1 + len(self.pooling)) * self.units

    @property
    def state_size(self) -> list[int]:
        """U, and n U for each earlier input of the window."""
        return [self.units, *[self.width] * (self.window - 1)]

    @property
    def state_names(self) -> tuple[str, ...]:  # type: ignore[override]
        """c, and one name for each later step that the inputs so far affect."""
        return ("c", *(f"ahead_{k}" for k in range(1, self.window)))

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        self.kernel = self.weight("kernel", "kernel", (self.window, input_shape[-1], self.width))
        self.bias = self.weight("bias", "bias", (self.width,)) if self.use_bias else None

    def taps(self, x: Any) -> list[Any]:
        """Terms that x (..., D) adds to the gates of its own step, of the next, ...: K times (..., n U)."""
        newest_first = ops.transpose(ops.flip(self.kernel, axis=0), (1, 0, 2))
        kernel = ops.reshape(newest_first, (newest_first.shape[0], -1))
        return ops.split(ops.matmul(x, kernel), self.window, axis=-1)

    def gates(self, pre: Any) -> tuple[Any, Any, Any]:
        """a and b of c[t] = a c[t-1] + b, and the output gate or None, from what the gates read (..., n U)."""
        z, *gates = ops.split(self.biased(pre), 1 + len(self.pooling), axis=-1)
        read = dict(zip(self.pooling, gates, strict=True))
        new = ops.sigmoid(read["i"]) if "i" in read else ops.sigmoid(-read["f"])
        shown = ops.sigmoid(read["o"]) if "o" in read else None
        return ops.sigmoid(read["f"]), new * self.activation(z), shown

    def call(self, inputs: Any, states: Any, training: bool | None = False) -> tuple[Any, list[Any]]:
        c, *ahead = self.read(states)
        now, *later = self.taps(self.drop_inputs(inputs, training))
        ahead = [*ahead, ops.zeros_like(now)]
        a, b, shown = self.gates(now + ahead[0])
        c = a * c + b
        later = [tap + before for tap, before in zip(later, ahead[1:], strict=True)]
        return c if shown is None else shown * c, [c, *later]

    def parallel_scan(self, x: Any, states: list[Any], mask: Any, training: bool | None) -> tuple[Any, list[Any]]:
        start, *ahead = self.read(states)
        now, *later = self.taps(self.drop_inputs(x, training))
        last: list[Any] = []
        # From the furthest step ahead to the present: each waits until its step comes.
        waiting: Any = None
        for tap, first in zip(reversed(later), reversed(ahead), strict=True):
            held = hold(tap if waiting is None else tap + waiting, mask, first)
            waiting = ops.concatenate([first[:, None], held[:, :-1]], axis=1)
            last.insert(0, held[:, -1])
        a, b, shown = self.gates(now if waiting is None else now + waiting)
        c = ops.cast(linear_scan(a, b, start, mask=mask), self.compute_dtype)
        return c if shown is None else shown * c, [c[:, -1], *last]


@keras.saving.register_keras_serializable(package="rnnzoo")
class QRNN(ScanRNN):
    """`keras.layers.RNN(QRNNCell(units))` with the same weights and results, all steps at once (Bradbury et al. 2017).

    Arguments, inputs and outputs are those of `MinGRU`; with a window of more than one there are several states.
    """

    cell_class = QRNNCell
    stream_as = keras.layers.RNN
