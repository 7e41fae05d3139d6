"""One-to-one: a label for each word from that word alone."""

from __future__ import annotations

from rnnzoo.tasks.tagger.task import TaggerTask


class OneToOneTask(TaggerTask):
    """The task of a tagger for a model that sees one word at a time."""

    topology = "one_to_one"
