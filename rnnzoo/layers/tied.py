"""One table for input words and output words."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from rnnzoo.layers.embedding import PaddedEmbedding
from rnnzoo.layers.refusals import refused


@keras.saving.register_keras_serializable(package="rnnzoo")
class TiedEmbedding(PaddedEmbedding):
    """An embedding that also scores its ids.

    Press & Wolf 2017, Using the Output Embedding to Improve Language Models:

        embedding(ids)[t] = E[ids[t]];   embedding(h, reverse=True)[t] = E h[t] + b

    Args:
        use_bias: add b to the scores.
        Others: as of `PaddedEmbedding`.

    Input: ids as of `PaddedEmbedding`, or with reverse=True vectors (B, T, E). Output: vectors, or scores (B, T, V).

    Raises:
        ValueError: vectors of another width than the table's.
    """

    def __init__(self, input_dim: int, output_dim: int, *args: Any, use_bias: bool = True, **kwargs: Any):
        super().__init__(input_dim, output_dim, *args, **kwargs)
        self.use_bias = use_bias

    def build(self, input_shape: Any = None) -> None:
        super().build(input_shape)
        self.bias = self.add_weight((self.input_dim,), name="bias", initializer="zeros") if self.use_bias else None

    def save_own_variables(self, store: Any) -> None:
        store["0"] = self._embeddings
        if self.bias is not None:
            store["1"] = self.bias

    def load_own_variables(self, store: Any) -> None:
        self._embeddings.assign(store["0"])
        if self.bias is not None:
            self.bias.assign(store["1"])

    def compute_output_shape(self, input_shape: tuple[int | None, ...], reverse: bool = False) -> tuple[Any, ...]:
        return (*input_shape[:-1], self.input_dim) if reverse else super().compute_output_shape(input_shape)

    def compute_output_spec(self, ids: Any, training: bool | None = None, reverse: bool = False) -> keras.KerasTensor:
        if reverse and ids.shape[-1] != self.output_dim:
            raise refused(
                f"TiedEmbedding: expected vectors of width {self.output_dim} with reverse=True. "
                f"Received: shape {tuple(ids.shape)}"
            )
        return keras.KerasTensor(self.compute_output_shape(ids.shape, reverse), dtype=self.compute_dtype)

    def call(self, ids: Any, training: bool | None = None, reverse: bool = False) -> Any:
        if not reverse:
            return super().call(ids, training=training)
        scores = ops.matmul(ids, ops.transpose(ops.convert_to_tensor(self.embeddings)))
        return scores if self.bias is None else scores + self.bias

    def stream_step(self, x: Any, valid: Any, states: dict[str, Any], reverse: bool = False) -> Any:
        """The layer itself on a chunk."""
        return self(x, reverse=reverse), valid, states

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "use_bias": self.use_bias}
