"""Base class of all tasks: batches, objective, evaluation and export."""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from rnnzoo.data.config import RowsConfig
from rnnzoo.data.source import Example, Findings, Source
from rnnzoo.errors import DataError
from rnnzoo.tasks.evaluation import Evaluation
from rnnzoo.tasks.objective import Objective

if TYPE_CHECKING:
    from typing import Self

    from rnnzoo.data.config import DataConfig
    from streaming.runtime.tasks.schema import TaskSpec


class Task(Evaluation, Objective):
    """A task on a data set.

    A subclass defines the encoding of an example, the objective, the figures, and the specification in the streaming
    file. Its arguments are those of `Batches`.
    """

    # What `topology:` says in a configuration.
    topology: ClassVar[str]
    # What was understood of a user's files.
    findings: Findings = Findings()
    # Kinds of data sets that it takes, as `register_dataset` names them.
    kinds: ClassVar[tuple[str, ...]]

    @classmethod
    def from_source(cls, source: Source, config: Any, *, encoder: Any = None, seed: int = 0) -> Self:
        """A task on examples already read; the encoder is fitted on `train` unless one is given.

        Raises:
            DataError: the examples are of a kind that this topology does not take.
        """
        if source.kind not in cls.kinds:
            raise DataError(
                f"topology {cls.topology!r} takes data of the kind {' or '.join(cls.kinds)}; "
                f"{config.dataset!r} is of the kind {source.kind}: choose another topology or data set"
            )
        if source.findings.columns and isinstance(config, RowsConfig):
            config = dataclasses.replace(config, columns=source.findings.columns)
        if encoder is None:
            encoder = cls.fit_encoder(source.splits["train"], config)
        task = cls(config, encoder, source.splits, seed)
        task.findings = source.findings
        return task

    @classmethod
    @abc.abstractmethod
    def fit_encoder(cls, train: Sequence[Example], config: Any) -> Any:
        """The encoder of raw input, with vocabularies and scales from the training split only."""

    @classmethod
    @abc.abstractmethod
    def read_encoder(cls, files: Mapping[str, bytes], config: Any) -> Any:
        """The encoder from the files that its `to_files()` gave; raises StreamingError where they are damaged."""

    @classmethod
    @abc.abstractmethod
    def spec(cls, config: Any, encoder: Any) -> TaskSpec:
        """Specification of the task for a streaming file."""

    @classmethod
    def conversion(cls, config: DataConfig) -> dict[str, Any]:
        """Arguments of `streaming.convert` beside the model and its task."""
        return {}
