"""Converts the configuration of a layer of Keras 2 to that of the same layer in Keras 3."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import keras

from streaming.errors import InputError, NotStreamableError

# Keywords that say how Keras 2 computed and not what: of every layer, and of some.
_DROPPED = frozenset(
    {"batch_input_shape", "input_shape", "batch_size", "input_dtype", "implementation", "input_length"}
)
_DROPPED_OF = {
    "BatchNormalization": {"renorm", "renorm_clipping", "renorm_momentum", "virtual_batch_size", "fused", "adjustment"},
    "MultiHeadAttention": {"query_shape", "key_shape", "value_shape", "softmax_robust_masking"},
    "EinsumDense": {"kernel_shape"},
    "Discretization": {"trainable"},
    **{f"SpatialDropout{rank}D": {"trainable"} for rank in (1, 2, 3)},
    **{f"Random{name}": {"rng_type"} for name in "Brightness Contrast Crop Flip Rotation Translation Zoom".split()},
}
# Keywords that mean nothing when they have this value, and that Keras 3 has no word for when they have another.
_NEUTRAL: dict[str, Any] = {"time_major": False, "ragged": False, "sparse": False, "causal": False}
# What only training needs: the weights come from the file.
_TRAINING = ("_initializer", "_regularizer", "_constraint")
_NEUTRAL_OF: dict[str, dict[str, Any]] = {
    "SeparableConv1D": {"groups": 1},
    "SeparableConv2D": {"groups": 1},
    "DepthwiseConv1D": {"groups": 1, "filters": None},
    "DepthwiseConv2D": {"groups": 1, "filters": None},
    **{f"Conv{rank}DTranspose": {"groups": 1} for rank in (1, 2, 3)},
    **{f"SpatialDropout{rank}D": {"noise_shape": None} for rank in (1, 2, 3)},
}
_RENAMED = {"LeakyReLU": {"alpha": "negative_slope"}}
# Layers of earlier names.
_ALIASES = {
    "BatchNormalizationV1": "BatchNormalization",
    "BatchNormalizationV2": "BatchNormalization",
    "LSTMV2": "LSTM",
    "GRUV2": "GRU",
    "LayerNormalizationV1": "LayerNormalization",
}
_INSIDE = ("layer", "backward_layer", "cell")
_LAMBDAS = ("Lambda", "__lambda__")
RECURRENT = ("LSTM", "GRU", "SimpleRNN", "RNN", "Bidirectional", "ConvLSTM1D", "ConvLSTM2D", "ConvLSTM3D")


@keras.saving.register_keras_serializable("streaming")
def keras2_hard_sigmoid(x: Any) -> Any:
    """clip(0.2 x + 0.5, 0, 1): `hard_sigmoid` as Keras 2 has it; Keras 3 has another slope under this name."""
    return keras.ops.clip(0.2 * x + 0.5, 0.0, 1.0)


def modern_layer(entry: Mapping[str, Any], path: str) -> Any:
    """The Keras 3 layer of a serialized layer of Keras 2.

    Args:
        entry: {"class_name": ..., "config": {...}} as the file has it.
        path: of the file, for errors.

    Raises:
        NotStreamableError: it is a Lambda, is of no class that Keras knows, or has an option that Keras 3 lacks.
        InputError: the configuration is damaged.
    """
    name, kind = layer_name(entry), class_name(entry)
    if kind in _LAMBDAS:
        raise NotStreamableError(
            f"layer {name!r} of {path} is a Lambda, code inside the file; write it as a layer or with keras.ops"
        )
    config = entry.get("config")
    if not isinstance(config, dict):
        raise InputError(f"layer {name!r} of {path} has no configuration; save the model again")
    layer_class: Any = getattr(keras.layers, kind, None)
    own = layer_class is None or not (isinstance(layer_class, type) and issubclass(layer_class, keras.layers.Layer))
    if own:
        layer_class = _registered(entry, path)
    try:
        return layer_class.from_config(_modern(config, kind, path, own))
    except (InputError, NotStreamableError):
        raise
    except Exception as error:  # each layer has its own words for what it does not take
        reason = " ".join(re.split("during deserialization:|Exception encountered:", str(error))[-1].split())[:200]
        raise InputError(
            f"layer {name!r} of {path}, a {kind} of Keras 2, cannot be made in Keras 3: {reason}; build the model in "
            "Keras 3 and load its weights"
        ) from error


def class_name(entry: Mapping[str, Any]) -> str:
    """The name of the class, as Keras 3 knows it."""
    kind = str(entry.get("class_name"))
    return _ALIASES.get(kind, kind)


def layer_name(entry: Mapping[str, Any]) -> str:
    """The name of the layer."""
    config = entry.get("config")
    return str(entry.get("name") or (config.get("name", "unnamed") if isinstance(config, dict) else "unnamed"))


def _registered(entry: Mapping[str, Any], path: str) -> Any:
    for name in (entry.get("registered_name"), entry.get("class_name")):
        registered = keras.saving.get_registered_object(str(name)) if name else None
        registered = registered or keras.saving.get_registered_object(f"Custom>{name}")
        if registered is not None:
            return registered
    raise NotStreamableError(
        f"layer {layer_name(entry)!r} of {path} has the class {entry.get('class_name')}, which Keras 3 does not know; "
        "give --import MODULE with a module of yours that registers it by keras.saving.register_keras_serializable"
    )


def _modern(config: Mapping[str, Any], kind: str, path: str, own: bool) -> dict[str, Any]:
    """The configuration in the words of Keras 3; that of a user's own layer but for what every layer had."""
    modern: dict[str, Any] = {}
    neutral = _NEUTRAL | _NEUTRAL_OF.get(kind, {})
    for key, value in config.items():
        if key in _DROPPED and not (own and key == "implementation"):
            continue
        if key == "dtype":
            modern[key] = _dtype(value)
        elif own:
            modern[key] = value
        elif key in _DROPPED_OF.get(kind, ()) or key.endswith(_TRAINING) or key in ("activity_regularizer",):
            continue
        elif key in neutral:
            if value not in (None, neutral[key]):
                raise NotStreamableError(
                    f"layer {config.get('name', kind)!r} of {path} has {key}={value!r}, which Keras 3 does not have; "
                    f"build the model with {key}={neutral[key]!r} and load its weights"
                )
        elif key in _INSIDE or key == "cells":
            modern[key] = _inside(key, value, path)
        elif key == "activation" or key.endswith("_activation"):
            modern[key] = _activation(value, config.get("name", kind), path)
        elif key == "axis" and isinstance(value, list) and len(value) == 1:
            modern[key] = value[0]
        else:
            modern[_RENAMED.get(kind, {}).get(key, key)] = value
    if kind in ("GRU", "GRUCell") and not own:
        modern.setdefault("reset_after", False)  # it is older than the keyword
    return modern


def _inside(key: str, value: Any, path: str) -> Any:
    if key == "cells":
        return [_serialized(item, path) for item in value]
    return None if value is None else _serialized(value, path)


def _serialized(entry: Any, path: str) -> Any:
    if not isinstance(entry, dict):
        raise InputError(f"a layer inside a layer of {path} has no configuration; save the model again")
    return keras.saving.serialize_keras_object(modern_layer(entry, path))


def _dtype(value: Any) -> Any:
    """The name of a dtype or policy, whichever way it is written."""
    if isinstance(value, dict):
        config = value.get("config")
        name = config.get("name") if isinstance(config, dict) else None
        return name if isinstance(name, str) else "float32"
    return value


def _activation(value: Any, name: str, path: str) -> Any:
    if isinstance(value, dict):
        inner = value.get("config")
        if isinstance(inner, dict):  # a layer as an activation
            return modern_layer(value, path)
        value = value.get("registered_name") or inner
    if value == "hard_sigmoid":
        return keras2_hard_sigmoid
    if value is None or not isinstance(value, str):
        return None
    if value in _LAMBDAS or "lambda" in value:
        raise NotStreamableError(f"layer {name!r} of {path} has a lambda as its activation; write it as a layer")
    try:
        return keras.activations.get(value)
    except ValueError:
        registered = keras.saving.get_registered_object(value) or keras.saving.get_registered_object(f"Custom>{value}")
        if registered is None:
            raise NotStreamableError(
                f"layer {name!r} of {path} has the activation {value!r}, which Keras 3 does not know; give --import "
                "MODULE with a module of yours that registers it by keras.saving.register_keras_serializable"
            ) from None
        return registered
