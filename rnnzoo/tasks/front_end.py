"""Audio models with their front end in the graph, so that clients need no signal processing."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from streaming.runtime.tasks.schema import AudioSpec, TaskSpec

if TYPE_CHECKING:
    import keras


def with_front_end(model: keras.Model, spec: TaskSpec) -> tuple[keras.Model, TaskSpec]:
    """An audio model that takes samples, with its changed specification; other models are returned unchanged.

    The state of the front end begins with silence. If the lead is at least as long, this silence is the beginning of
    the lead. Otherwise the rows that contain it are dropped, and `zeros` of the task align the end of the first frame
    with a row.

    Args:
        model: takes log-mel features (B, T, M).
        spec: of its task, with `features`.
    """
    if not isinstance(spec, AudioSpec):
        return model, spec
    features = spec.features
    if features is None or features.center or features.power != 2:
        return model, spec
    import keras

    from rnnzoo.layers import LogMelFrontEnd

    hop, length = features.frame_step, features.frame_length
    lead = round(spec.lead * spec.sample_rate / hop) * hop
    samples = keras.Input((None, hop), name="samples")
    rows = LogMelFrontEnd(features, name="front_end")(samples)
    zeros = lead - (length - hop)
    if zeros < 0:
        early = -(-(length - hop) // hop)
        rows = keras.layers.Cropping1D((early, 0), name="whole_frames")(rows)
        zeros = lead + early * hop - (length - hop)
    # Walked through layer by layer, outputs and states keep the names that they have without a front end.
    heard = keras.Model({"samples": samples}, model.call({model.inputs[0].name: rows}), name=model.name)
    return heard, dataclasses.replace(spec, features=None, frame_length=length, zeros=zeros)
