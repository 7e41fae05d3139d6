"""Data sets prepared by Apache Beam, on the runner of the user's choice."""

from __future__ import annotations

import os
from typing import Any

from rnnzoo.errors import DataError

VARIABLE = "RNNZOO_BEAM_RUNNER"


def use_beam(builder: Any, config: Any) -> None:
    """Let a TFDS builder write its examples in a Beam pipeline where RNNZOO_BEAM_RUNNER names a runner.

    Args:
        builder: not prepared yet; one of this package makes the examples of a split in one step of the pipeline.
        config: of the download; it gets the runner, which TFDS gives to builders that are made for Beam, too.

    Raises:
        DataError: Apache Beam is not installed.
    """
    runner = os.environ.get(VARIABLE)
    if not runner:
        return
    try:
        import apache_beam as beam
    except ImportError as error:
        raise DataError(f"{VARIABLE}={runner} needs Apache Beam: install rnnzoo[beam], or unset it") from error
    config.beam_runner = runner
    if not hasattr(builder, "MIRROR"):
        return
    make = builder._generate_examples
    builder._generate_examples = lambda *given: beam.Create([given]) | beam.FlatMapTuple(make)
