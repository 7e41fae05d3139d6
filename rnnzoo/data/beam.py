"""Data sets prepared by Apache Beam, on the runner of the user's choice."""

from __future__ import annotations

import logging
import os
import shlex
from typing import Any

from rnnzoo.errors import DataError

VARIABLE, OPTIONS = "RNNZOO_BEAM_RUNNER", "RNNZOO_BEAM_OPTIONS"


def use_beam(builder: Any, config: Any) -> None:
    """Let a TFDS builder write its examples in a Beam pipeline where RNNZOO_BEAM_RUNNER names a runner.

    RNNZOO_BEAM_OPTIONS may have options of that runner, as on a command line.

    Args:
        builder: not prepared yet; one of this package makes the examples of a split in one step of the pipeline.
        config: of the download; it gets the runner, which TFDS gives to builders that are made for Beam, too.

    Raises:
        DataError: Apache Beam is not installed, or has no such runner.
    """
    runner = os.environ.get(VARIABLE)
    if not runner:
        return
    try:
        # It warns of clients for clouds that are not installed.
        logging.disable(logging.WARNING)
        import apache_beam as beam
        from apache_beam.options.pipeline_options import PipelineOptions
        from apache_beam.runners.runner import create_runner
    except ImportError as error:
        raise DataError(f"{VARIABLE}={runner} needs Apache Beam: install rnnzoo[beam], or unset it") from error
    finally:
        logging.disable(logging.NOTSET)
    try:
        config.beam_runner = create_runner(runner)
    except (ValueError, ImportError, AttributeError) as error:
        raise DataError(f"{VARIABLE}={runner} is no runner of Apache Beam ({error}); DirectRunner is one") from error
    # Without any, Beam would take the arguments of this program for its own.
    config.beam_options = PipelineOptions(shlex.split(os.environ.get(OPTIONS, "")))
    if not hasattr(builder, "MIRROR"):
        return
    make = builder._generate_examples
    builder._generate_examples = lambda *given: beam.Create([given]) | beam.FlatMapTuple(make)
