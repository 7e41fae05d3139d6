"""A recurrent decoder with attention inside its loop."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from rnnzoo.layers.attention import SourceAttention
from rnnzoo.layers.refusals import OverSequences, finite, fit_states, positive, refused
from streaming._compat import layers_of, loop_over_time


@keras.saving.register_keras_serializable(package="rnnzoo")
class AttentionCell(keras.layers.Layer):
    """One step of a decoder that attends to a source.

        attend="before" (Bahdanau 2015): c = attention(h');  h = cell([x; c], h');  y = [h; c]
        attend="after" (Luong 2015):     h = cell([x; y'], h');  c = attention(h);  y = tanh(W [c; h])

    with h', y' of the step before; y' is zero at the first step, and not fed with input_feeding=False. The query is
    the first state of the cell, of the topmost one where cells are stacked.

    Args:
        cell: a Keras RNN cell, or keras.layers.StackedRNNCells.
        attention: BahdanauAttention or LuongAttention.
        attend: "before" or "after" the cell.
        units: width of y with attend="after"; None: as wide as the query.
        input_feeding: with attend="after", feed y into the next step.

    Called as cell(x, states, keys, memory, memory_mask): x (B, D), keys = attention.keys(memory) (B, S, U), memory
    (B, S, Dm), mask (B, S). Returns y, the weights (B, S) and the states: those of the cell in flat order, then y'
    and the number of the step, where they are needed. `AttentionDecoder` runs it over a sequence.

    Raises:
        ValueError: `attend` of another name, units below 1, or arguments that are no cell and no attention.
    """

    def __init__(
        self,
        cell: Any,
        attention: SourceAttention,
        attend: str = "before",
        units: int | None = None,
        input_feeding: bool = True,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        if attend not in ("before", "after"):
            raise refused(f"AttentionCell: expected attend 'before' or 'after'. Received: attend={attend!r}")
        if units is not None:
            positive(self, units=units)
            if attend == "before":
                raise refused(f"AttentionCell: expected units with attend='after' only. Received: {units=}, {attend=}")
        if not hasattr(cell, "state_size") or not isinstance(attention, SourceAttention):
            raise refused(
                "AttentionCell: expected a Keras RNN cell and a BahdanauAttention or LuongAttention. "
                f"Received: {type(cell).__name__} and {type(attention).__name__}"
            )
        self.cell, self.attention, self.attend = cell, attention, attend
        self.units, self.input_feeding = units, input_feeding
        top = cell.cells[-1].state_size if isinstance(cell, keras.layers.StackedRNNCells) else cell.state_size
        self._query_width = keras.tree.flatten(top)[0]
        self._query_index = len(keras.tree.flatten(cell.state_size)) - len(keras.tree.flatten(top))
        # Features of y' where it is fed, and of y with attend="after".
        self._width = units or self._query_width
        self._feeds = attend == "after" and input_feeding

    @property
    def state_size(self) -> list[int]:
        fed = [self._width] if self._feeds else []
        return [*keras.tree.flatten(self.cell.state_size), *fed, *([1] if self.attention.counts_steps else [])]

    def output_width(self, memory_width: int) -> int:
        """Features of y."""
        return self._width if self.attend == "after" else self._cell_width + memory_width

    @property
    def _cell_width(self) -> int:
        return int(keras.tree.flatten(self.cell.output_size)[-1])

    def build(self, input_shape: tuple[Any, ...], memory_shape: tuple[Any, ...]) -> None:
        if not self.attention.built:
            self.attention.build((input_shape[0], 1, self._query_width), memory_shape)
        extra = memory_shape[-1] if self.attend == "before" else self._width * self._feeds
        if not self.cell.built:
            self.cell.build((input_shape[0], input_shape[-1] + extra))
            self.cell.built = True
        if self.attend == "after":
            self.output_kernel = self.add_weight(
                (memory_shape[-1] + self._cell_width, self._width), name="output_kernel"
            )
        self.built = True

    def get_initial_state(self, batch_size: Any = None) -> list[Any]:
        inner = keras.tree.flatten(self.cell.get_initial_state(batch_size=batch_size))
        extra = self.state_size[len(inner) :]
        return [*inner, *(ops.zeros((batch_size, size), dtype=self.compute_dtype) for size in extra)]

    def call(
        self, x: Any, states: list[Any], keys: Any, memory: Any, memory_mask: Any = None, training: bool = False
    ) -> tuple[Any, Any, list[Any]]:
        fit_states(self, states, self.state_size, None)
        count = len(keras.tree.flatten(self.cell.state_size))
        inner, extra = list(states[:count]), list(states[count:])
        step = extra[-1] if self.attention.counts_steps else None
        new_extra = [] if step is None else [step + 1]
        named = {"memory_mask": memory_mask, "steps": step, "return_attention_scores": True}

        def attend(query: Any) -> tuple[Any, Any]:
            context, weights = self.attention.attend(ops.expand_dims(query, 1), keys, memory, **named)
            return ops.squeeze(context, 1), ops.squeeze(weights, 1)

        if self.attend == "before":
            context, weights = attend(inner[self._query_index])
            output, inner = self._advance(ops.concatenate([x, context], axis=-1), inner, training)
            return ops.concatenate([output, context], axis=-1), weights, [*inner, *new_extra]
        fed = ops.concatenate([x, extra[0]], axis=-1) if self._feeds else x
        output, inner = self._advance(fed, inner, training)
        context, weights = attend(inner[self._query_index])
        y = ops.tanh(ops.matmul(ops.concatenate([context, output], axis=-1), self.output_kernel))
        return y, weights, [*inner, *([y] if self._feeds else []), *new_extra]

    def _advance(self, x: Any, flat: list[Any], training: bool) -> tuple[Any, list[Any]]:
        kwargs = {"training": training} if getattr(self.cell, "_call_has_training_arg", False) else {}
        output, new = self.cell(x, self._nested(flat), **kwargs)
        return output, keras.tree.flatten(new)

    def _nested(self, flat: list[Any]) -> Any:
        """States as the cell takes them: a list, for stacked cells a list of what each takes."""
        if not isinstance(self.cell, keras.layers.StackedRNNCells):
            return flat
        return keras.tree.pack_sequence_as(self.cell.state_size, flat)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "cell": keras.saving.serialize_keras_object(self.cell),
            "attention": keras.saving.serialize_keras_object(self.attention),
            "attend": self.attend,
            "units": self.units,
            "input_feeding": self.input_feeding,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> AttentionCell:
        made = {name: keras.saving.deserialize_keras_object(config[name]) for name in ("cell", "attention")}
        return cls(**{**config, **made})


@keras.saving.register_keras_serializable(package="rnnzoo")
class AttentionDecoder(OverSequences, keras.layers.Layer):
    """A recurrent layer that attends to a source at each step: `AttentionCell` over a sequence.

    Args:
        cell: AttentionCell.
        return_state: also return the states after the last step.
        return_attention_scores: also return the weights, (B, T, S).

    Input: (B, T, D); memory (B, S, Dm); `initial_state`, states of the cell in flat order, the first ones or all;
    masks (B, T) and (B, S), which Keras finds on the tensors. Where the input is masked, the state stays and the
    output is zero. Output: (B, T, U), then the weights, then the states.

    Streamed, the source is named in `encode`: keys and initial state are computed there, and a step costs one of the
    cell and O(S U) for the attention.

    Raises:
        ValueError: not an AttentionCell, or an initial state that does not fit it.
    """

    def __init__(
        self, cell: AttentionCell, return_state: bool = False, return_attention_scores: bool = False, **kwargs: Any
    ):
        super().__init__(**kwargs)
        if not isinstance(cell, AttentionCell):
            raise refused(f"AttentionDecoder: expected an AttentionCell. Received: {type(cell).__name__}")
        self.cell, self.return_state, self.return_attention_scores = cell, return_state, return_attention_scores
        self.loop = AttentionLoop(cell, return_state, return_attention_scores, name="loop", dtype=self.dtype_policy)

    def build(self, inputs_shape: tuple[Any, ...], memory_shape: tuple[Any, ...], **_: Any) -> None:
        if not self.cell.built:
            self.cell.build((inputs_shape[0], inputs_shape[-1]), memory_shape)
        self.built = self.loop.built = True

    def compute_mask(self, inputs: Any, previous_mask: Any) -> Any:
        return previous_mask

    def initial_sizes(self, count: int) -> Any:
        return self.cell.state_size[:count]

    def call(
        self,
        inputs: Any,
        memory: Any,
        initial_state: Any = None,
        inputs_mask: Any = None,
        memory_mask: Any = None,
        training: bool = False,
    ) -> Any:
        states = [] if initial_state is None else keras.tree.flatten(initial_state)
        keys = self.cell.attention.keys(memory)
        named = {"inputs_mask": inputs_mask, "memory_mask": memory_mask, "training": training}
        outputs = self.loop(inputs, keys, memory, initial_state=states or None, **named)
        return outputs if training else finite(self, outputs)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "cell": keras.saving.serialize_keras_object(self.cell),
            "return_state": self.return_state,
            "return_attention_scores": self.return_attention_scores,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> AttentionDecoder:
        return cls(**{**config, "cell": keras.saving.deserialize_keras_object(config["cell"])})


class AttentionLoop(keras.layers.Layer):
    """The part of a decoder that runs step by step, given the keys of the source."""

    def __init__(self, cell: AttentionCell, return_state: bool, return_attention_scores: bool, **kwargs: Any):
        super().__init__(**kwargs)
        self.cell, self.return_state, self.return_attention_scores = cell, return_state, return_attention_scores
        self.supports_masking = True

    def call(
        self,
        inputs: Any,
        keys: Any,
        memory: Any,
        initial_state: Any = None,
        inputs_mask: Any = None,
        memory_mask: Any = None,
        training: bool = False,
    ) -> Any:
        states = self.cell.get_initial_state(ops.shape(inputs)[0])
        given = [ops.cast(state, self.compute_dtype) for state in initial_state or []]
        states = [*given, *states[len(given) :]]
        width = self.cell.output_width(memory.shape[-1])
        if inputs_mask is not None:
            # The loop takes one tensor: the mask rides along as a feature.
            inputs = ops.concatenate([inputs, ops.cast(inputs_mask, inputs.dtype)[:, :, None]], axis=-1)

        def step(x: Any, states: Any) -> tuple[Any, list[Any]]:
            keep = None
            if inputs_mask is not None:
                x, keep = x[:, :-1], x[:, -1:] > 0.5
            y, weights, new = self.advance(x, keep, list(states), keys, memory, memory_mask, training)
            return (ops.concatenate([y, weights], axis=-1) if self.return_attention_scores else y), new

        if training:
            # Cells keep their dropout masks from the first call on: it must not happen inside of the loop.
            step(inputs[:, 0], states)
        _, outputs, last = loop_over_time(step, inputs, states)
        self._forget_dropout()
        results = [outputs[..., :width]]
        if self.return_attention_scores:
            # The width of a part is unknown where that of the weights is.
            results = [ops.reshape(results[0], (*ops.shape(outputs)[:2], width)), outputs[..., width:]]
        results += list(last) if self.return_state else []
        return results if len(results) > 1 else results[0]

    def advance(
        self, x: Any, keep: Any, states: list[Any], keys: Any, memory: Any, memory_mask: Any, training: bool = False
    ) -> tuple[Any, Any, list[Any]]:
        """One step; where `keep` (B, 1) is false the state stays and the output is zero."""
        y, weights, new = self.cell(x, states, keys, memory, memory_mask=memory_mask, training=training)
        if keep is None:
            return y, weights, new
        y, weights = (ops.where(keep, value, ops.zeros_like(value)) for value in (y, weights))
        return y, weights, [ops.where(keep, n, o) for n, o in zip(new, states, strict=True)]

    def _forget_dropout(self) -> None:
        for layer in layers_of(self.cell):
            for name in ("reset_dropout_mask", "reset_recurrent_dropout_mask"):
                if hasattr(layer, name):
                    getattr(layer, name)()

    def stream_spec(self, input_shape: tuple[Any, ...]) -> dict[str, Any]:
        """States: those of the cell, and whether the stream has begun: its first one may be that of the source."""
        states: dict[str, Any] = {"started": {"shape": (1,)}}
        for index, value in enumerate(self.cell.get_initial_state(1)):
            states[f"state{index}"] = {"shape": tuple(value.shape[1:]), "initial": ops.convert_to_numpy(value)[0]}
        return {"states": states, "delay": 0}

    def stream_step(
        self,
        x: Any,
        valid: Any,
        states: dict[str, Any],
        keys: Any,
        memory: Any,
        initial_state: Any = None,
        inputs_mask: Any = None,
        memory_mask: Any = None,
    ) -> tuple[Any, Any, dict[str, Any]]:
        """A chunk of inputs (B, T, D)."""
        started = states["started"]
        current = [states[f"state{index}"] for index in range(len(states) - 1)]
        for index, given in enumerate(initial_state or []):
            current[index] = ops.where(started > 0.5, current[index], given)
        masks = [mask for mask in (valid, inputs_mask) if mask is not None]
        rows, weights = [], []
        for t in range(x.shape[1]):
            keep = None
            for mask in masks:
                here = ops.cast(mask[:, t : t + 1], "bool")
                keep = here if keep is None else ops.logical_and(keep, here)
            y, row, current = self.advance(x[:, t], keep, current, keys, memory, memory_mask)
            rows.append(y)
            weights.append(row)
        new = {f"state{index}": value for index, value in enumerate(current)}
        output = ops.stack(rows, axis=1)
        if self.return_attention_scores:
            output = [output, ops.stack(weights, axis=1)]
        return output, valid, {"started": ops.ones_like(started), **new}
