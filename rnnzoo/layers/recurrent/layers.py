"""Swap-in recurrent layers: same arguments, weights, checkpoints and results as Keras's, faster in training."""

from __future__ import annotations

import inspect
from typing import Any

import keras

from rnnzoo.layers.cells import LayerNormLSTMCell
from rnnzoo.layers.cells.base import remedy_for
from rnnzoo.layers.refusals import Recurrent, positive, refused


class HandDerived(Recurrent, keras.layers.RNN):
    """Base of Keras recurrent layers that use the loops of this package where the options allow it, else Keras's.

    The hand-derived backward pass is for the TensorFlow backend. On a GPU, Keras runs whatever cuDNN supports; on the
    JAX and PyTorch backends, Keras runs everything.
    """

    stream_as: type[keras.layers.Layer]

    def inner_loop(self, sequences: Any, initial_state: Any, mask: Any, training: bool = False) -> Any:
        if not self._is_for_keras(training):
            from rnnzoo.layers.recurrent import tensorflow_layer

            result = tensorflow_layer.loop(self, sequences, _flat(initial_state), _first(mask), training)
            if result is not None:
                return result
        return super().inner_loop(sequences, initial_state, mask, training=training)

    def _is_for_keras(self, training: bool) -> bool:
        """Whether the loop is Keras's: another backend, a device or a dropout that ours does not serve."""
        if keras.backend.backend() != "tensorflow":
            return True
        cell = self.cell
        # Each gate drops inputs of its own in this implementation, which recurrent dropout makes Keras choose.
        if training and cell.dropout and getattr(cell, "implementation", 2) == 1:
            return True
        # Cells of Keras differ in what a rate of 1 means.
        if training and 1 in (cell.dropout, cell.recurrent_dropout):
            return True
        import tensorflow as tf

        return getattr(self, "use_cudnn", False) is not False and bool(tf.config.list_logical_devices("GPU"))


def _flat(states: Any) -> list[Any]:
    return list(states) if isinstance(states, (list, tuple)) else [states]


def _first(mask: Any) -> Any:
    """Keras gives a list where the initial states came as inputs of their own."""
    return mask[0] if isinstance(mask, (list, tuple)) else mask


class SwapIn(HandDerived):
    """Base of the layers that replace a layer of Keras; they take the same arguments."""

    def __init__(self, units: int, *args: Any, **kwargs: Any):
        positive(self, units=units)
        known = inspect.signature(self.stream_as).parameters
        for name in sorted(set(kwargs) - set(known)):
            if remedy := remedy_for(name, kwargs[name], self):
                kind = self.stream_as.__name__
                raise refused(
                    f"{type(self).__name__}: expected the arguments of keras.layers.{kind}. Received: "
                    f"{name}={kwargs[name]!r}{remedy}"
                )
        super().__init__(units, *args, **kwargs)


@keras.saving.register_keras_serializable(package="rnnzoo")
class SimpleRNN(SwapIn, keras.layers.SimpleRNN):
    """`keras.layers.SimpleRNN` with a hand-derived backward pass (Elman 1990).

        h[t] = act(x[t] W + b + h[t-1] R)

    Arguments, weights, checkpoints and results are Keras's. Options without a derivative of ours (an activation
    other than tanh, sigmoid, relu and linear) run Keras's loop.

    Input: (B, T, D), a boolean mask (B, T), an initial state (B, U). Output: as Keras's.

    Raises:
        ValueError: no units, no steps, a state or a mask that does not fit, a mask that is not boolean, a NaN weight.
        NotImplementedError: a second derivative is asked for.
    """

    stream_as = keras.layers.SimpleRNN


@keras.saving.register_keras_serializable(package="rnnzoo")
class LSTM(SwapIn, keras.layers.LSTM):
    """`keras.layers.LSTM` with a hand-derived backward pass (Hochreiter & Schmidhuber 1997, Gers et al. 2000).

        i, f, g, o = split(x[t] W + b + h[t-1] R)
        c[t] = gate(f) c[t-1] + gate(i) act(g),   h[t] = gate(o) act(c[t])

    Arguments, weights, checkpoints and results are Keras's. Options without a derivative of ours (an activation
    other than tanh, sigmoid, relu and linear, dropout while training together with recurrent dropout or
    `implementation=1`) run Keras's loop; on a GPU, Keras decides on cuDNN.

    Input: (B, T, D), a boolean mask (B, T), initial states [h, c] (B, U) each. Output: as Keras's.

    Raises:
        ValueError: no units, no steps, a state or a mask that does not fit, a mask that is not boolean, a NaN weight.
        NotImplementedError: a second derivative is asked for.
    """

    stream_as = keras.layers.LSTM


@keras.saving.register_keras_serializable(package="rnnzoo")
class GRU(SwapIn, keras.layers.GRU):
    """`keras.layers.GRU` with a hand-derived backward pass (Cho et al. 2014).

        z, r = gate(split(x[t] W_zr + b_zr + h[t-1] R_zr)),   h[t] = z h[t-1] + (1 - z) n
        reset_after:  n = act(x[t] W_n + b_n + r (h[t-1] R_n + d_n))
        else:         n = act(x[t] W_n + b_n + (r h[t-1]) R_n)

    Arguments, weights, checkpoints and results are Keras's; what falls back to Keras's loop is as in `LSTM`, and
    besides `reset_after=False` with recurrent dropout while training.

    Input: (B, T, D), a boolean mask (B, T), an initial state (B, U). Output: as Keras's.

    Raises:
        ValueError: no units, no steps, a state or a mask that does not fit, a mask that is not boolean, a NaN weight.
        NotImplementedError: a second derivative is asked for.
    """

    stream_as = keras.layers.GRU


@keras.saving.register_keras_serializable(package="rnnzoo")
class LayerNormLSTM(HandDerived, keras.layers.RNN):
    """The layer-normalized LSTM with a hand-derived backward pass (Ba, Kiros & Hinton 2016, equations 20 to 22).

        i, f, g, o = split(LN(x[t] W; a_x) + LN(h[t-1] R; a_h) + b)
        c[t] = gate(f) c[t-1] + gate(i) act(g),   h[t] = gate(o) act(LN(c[t]; a_c) + b_c)

    It is `keras.layers.RNN` over a `LayerNormLSTMCell`, with the same weights; what falls back to Keras's loop is as
    in `LSTM`, and any recurrent dropout while training.

    Args:
        units: U.
        return_sequences, return_state, go_backwards, stateful, unroll, zero_output_for_mask: as in
            `keras.layers.RNN`.
        options: those of `LayerNormLSTMCell` by name, and `name`, `dtype`, `trainable`, `activity_regularizer`.

    Input: (B, T, D), a boolean mask (B, T), initial states [h, c] (B, U) each. Output: as that of `keras.layers.LSTM`.

    Raises:
        ValueError: no units, an option that does not exist, a sequence of no steps, a state or a mask that does not
            fit, a mask that is not boolean.
        NotImplementedError: a second derivative is asked for.
    """

    stream_as = keras.layers.RNN

    def __init__(
        self,
        units: int,
        *,
        return_sequences: bool = False,
        return_state: bool = False,
        go_backwards: bool = False,
        stateful: bool = False,
        unroll: bool = False,
        zero_output_for_mask: bool = False,
        activity_regularizer: Any = None,
        name: str | None = None,
        **options: Any,
    ):
        shared = {key: options[key] for key in ("dtype", "trainable") if key in options}
        super().__init__(
            LayerNormLSTMCell(units, **options),
            return_sequences=return_sequences,
            return_state=return_state,
            go_backwards=go_backwards,
            stateful=stateful,
            unroll=unroll,
            zero_output_for_mask=zero_output_for_mask,
            activity_regularizer=activity_regularizer,
            name=name,
            **shared,
        )
        self.input_spec = keras.layers.InputSpec(ndim=3)

    @property
    def units(self) -> int:
        """U."""
        return int(self.cell.units)

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        regularizer = keras.regularizers.serialize(self.activity_regularizer)
        return {**config.pop("cell")["config"], **config, "activity_regularizer": regularizer}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> LayerNormLSTM:
        return cls(**config)
