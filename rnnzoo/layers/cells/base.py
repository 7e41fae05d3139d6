"""Base of all cells: arguments as Keras has them, weights, dropout, states."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import keras
from keras import ops

from rnnzoo.layers.refusals import fit_states, positive, probability, refused
from streaming._compat import DropoutRNNCell

_KINDS = {"initializer": keras.initializers, "regularizer": keras.regularizers, "constraint": keras.constraints}
_OF_LAYERS = ("name", "dtype", "trainable", "autocast", "activity_regularizer")


class RecurrentCell(DropoutRNNCell, keras.layers.Layer):
    """Base of the cells: `call(x (B, D), states) -> (y (B, U), states)`, for `keras.layers.RNN`.

    Args:
        units: U, the width of the state.
        activation: of the candidate, by name or as a function.
        use_bias: add biases.
        dropout: of the inputs, while training; one mask for all gates and for all steps of a sequence.
        recurrent_dropout: the same of the state that the gates read (Gal & Ghahramani 2016).
        seed: of the masks.
        kwargs: `kernel_`, `recurrent_` and `bias_`, each with `initializer`, `regularizer` and `constraint`; what
            every Keras layer takes.

    Raises:
        ValueError: units below one, a rate outside of [0, 1), an option that the cell does not have, states that do
            not fit.
    """

    # Names of further arguments of a subclass, which its attributes have too.
    options: ClassVar[tuple[str, ...]] = ()
    defaults: ClassVar[dict[str, Any]] = {}
    # Names of the states, for errors.
    state_names: ClassVar[tuple[str, ...]] = ("h",)
    bias: Any

    def __init__(
        self,
        units: int,
        *,
        activation: Any = "tanh",
        use_bias: bool = True,
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        seed: int | None = None,
        **kwargs: Any,
    ):
        positive(self, units=units)
        probability(self, dropout=dropout, recurrent_dropout=recurrent_dropout)
        weights = {
            f"{role}_{kind}": kwargs.pop(f"{role}_{kind}", default)
            for (role, kind), default in {**_DEFAULTS, **self._own_defaults()}.items()
        }
        self._refuse_unknown(kwargs, weights)
        super().__init__(**kwargs)
        for name, value in weights.items():
            setattr(self, name, _KINDS[name.rsplit("_", 1)[1]].get(value))
        self._weight_options = tuple(weights)
        self.units, self.use_bias, self.seed = units, use_bias, seed
        self.activation = keras.activations.get(activation)
        self.dropout, self.recurrent_dropout = dropout, recurrent_dropout
        self.seed_generator = keras.random.SeedGenerator(seed)

    def _own_defaults(self) -> dict[tuple[str, str], Any]:
        return {tuple(name.rsplit("_", 1)): value for name, value in self.defaults.items()}  # type: ignore[misc]

    def _refuse_unknown(self, kwargs: dict[str, Any], weights: dict[str, Any]) -> None:
        unknown = sorted(set(kwargs) - set(_OF_LAYERS))
        if unknown:
            known = ", ".join(("units", *_COMMON, *self.options, *weights, *_OF_LAYERS))
            name = unknown[0]
            raise refused(
                f"{type(self).__name__}: expected options among {known}. Received: {name}={kwargs[name]!r}"
                f"{remedy_for(name, kwargs[name], self)}"
            )

    @property
    def state_size(self) -> int | list[int]:
        """U; a list where there are several states."""
        return self.units if len(self.state_names) == 1 else [self.units] * len(self.state_names)

    @property
    def output_size(self) -> int:
        """Features of the output."""
        return self.units

    def get_initial_state(self, batch_size: Any = None) -> list[Any]:
        """Zeros, (B, U) each."""
        return [ops.zeros((batch_size, size), dtype=self.compute_dtype) for size in self._sizes()]

    def _sizes(self) -> list[int]:
        return self.state_size if isinstance(self.state_size, list) else [self.state_size]

    def weight(self, role: str, name: str, shape: Sequence[int | None], initializer: Any = None) -> Any:
        """A weight under the initializer, regularizer and constraint of its role: kernel, recurrent or bias."""
        return self.add_weight(
            name=name,
            shape=tuple(shape),
            initializer=initializer if initializer is not None else getattr(self, f"{role}_initializer"),
            regularizer=getattr(self, f"{role}_regularizer"),
            constraint=getattr(self, f"{role}_constraint"),
        )

    def read(self, states: Any) -> list[Any]:
        """The states as a list; raises ValueError if they do not fit."""
        listed = list(states) if isinstance(states, list | tuple) else [states]
        fit_states(self, listed, self.state_size, None, self.state_names)
        return listed

    def biased(self, x: Any) -> Any:
        """x + b, where there is a bias."""
        return x if self.bias is None else x + self.bias

    def drop(self, x: Any, h: Any, training: bool | None) -> tuple[Any, Any]:
        """Inputs and state as the gates read them: with the dropout masks of this sequence, while training."""
        if training and self.dropout:
            x = x * self.get_dropout_mask(x)
        if training and self.recurrent_dropout:
            h = h * self.get_recurrent_dropout_mask(h)
        return x, h

    def get_config(self) -> dict[str, Any]:
        plain = {name: getattr(self, name) for name in ("units", "use_bias", "dropout", "recurrent_dropout", "seed")}
        own = {name: getattr(self, name) for name in ("activation", *self.options)}
        own = {name: keras.activations.serialize(v) if callable(v) else v for name, v in own.items()}
        weights = {name: _KINDS[name.rsplit("_", 1)[1]].serialize(getattr(self, name)) for name in self._weight_options}
        return {**super().get_config(), **plain, **own, **weights}


def remedy_for(option: str, value: Any, asked: Any) -> str:
    """The end of an error that names the cells that have a missing option; empty where none has it."""
    cells = [cell for cell in _descendants(RecurrentCell) if cell.__module__.startswith("rnnzoo.")]
    names = [cell.__name__ for cell in cells if option in cell.options]
    if not names:
        return ""
    # Of the same family, the first one is meant.
    family = type(asked).__name__.removesuffix("Cell")
    named = next((name for name in names if family in name), names[0])
    have = "has" if len(names) == 1 else "have"
    return f"; {' and '.join(names)} {have} it: keras.layers.RNN(rnnzoo.layers.{named}(units, {option}={value!r}))"


def _descendants(kind: type[RecurrentCell]) -> list[type[RecurrentCell]]:
    return [cell for child in kind.__subclasses__() for cell in (child, *_descendants(child))]


_COMMON = ("activation", "use_bias", "dropout", "recurrent_dropout", "seed")
_DEFAULTS: dict[tuple[str, str], Any] = {
    (role, kind): {"initializer": start}.get(kind)
    for role, start in (("kernel", "glorot_uniform"), ("recurrent", "orthogonal"), ("bias", "zeros"))
    for kind in _KINDS
}
