"""The layers of a Keras model as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from streaming._compat import nodes_of
from streaming.conversion.drawing import Node, draw_graph

if TYPE_CHECKING:
    import keras

_LEGEND = (("input", "input or output"), ("weights", "has weights"), ("plain", "no weights"))


def draw_architecture(model: keras.Model, path: Path, title: str, text: str) -> None:
    """Draw a functional model: a box for each call of a layer, with its class, its output and its parameters.

    Args:
        model: built; a model inside of it is one box.
        path: a .png, .svg or .pdf.
        title, text: stand above.

    Raises:
        InputError: the file name has another ending, or the folder cannot be written.
    """
    nodes: dict[str, Node] = {}
    makers: dict[int, str] = {}
    seen: set[int] = set()
    for call in nodes_of(model):
        layer = call.operation
        key = _free(layer.name, nodes)
        output = call.outputs[0]
        if call.is_input:
            node = Node("input", (key, f"input  {_shape(output.shape)}", output.dtype))
        else:
            kind, said = _weights(layer, layer.name if id(layer) in seen else "")
            node = Node(kind, (key, f"{type(layer).__name__}  {_shape(output.shape)}", said))
        _join(nodes, key, node, [makers[id(tensor)] for tensor in call.input_tensors])
        makers |= {id(tensor): key for tensor in call.outputs}
        seen.add(id(layer))
    for name, tensor in zip(model.output_names, model.outputs, strict=True):
        lines = (name, f"output  {_shape(tensor.shape)}", tensor.dtype)
        _join(nodes, _free(name, nodes), Node("output", lines), [makers[id(tensor)]])
    draw_graph(nodes, path, title, text, _LEGEND)


def _join(nodes: dict[str, Node], key: str, node: Node, before: Sequence[str]) -> None:
    node.before = list(dict.fromkeys(before))
    for other in node.before:
        nodes[other].after.append(key)
    nodes[key] = node


def _weights(layer: Any, shared: str) -> tuple[str, str]:
    """The kind of a box, and what is said of its weights; of a layer called again: whose they are."""
    if not getattr(layer, "weights", ()):
        return "plain", ""
    return "weights", f"weights of {shared}" if shared else f"{layer.count_params():,} parameters"


def _free(name: str, taken: dict[str, Node]) -> str:
    return name if name not in taken else next(n for i in range(2, 99) if (n := f"{name} ({i})") not in taken)


def _shape(shape: Sequence[int | None]) -> str:
    """Without the batch; T is a length that is not known."""
    return "×".join("T" if size is None else str(size) for size in shape[1:]) or "scalar"
