"""Questions about little stories (Weston et al. 2015, bAbI), 17 of the 20 tasks."""

from __future__ import annotations

import functools
import re
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from rnnzoo.data.builder import PackedFiles
from rnnzoo.data.config import DataConfig
from rnnzoo.data.mirror import rows
from rnnzoo.data.source import Example, Splits, register_dataset
from rnnzoo.data.terms import register_terms
from streaming.runtime.tokenization import tokenize

_NAME = "babi_qa"
_SPLITS = ("train", "test")
_PAGE = "https://research.facebook.com/downloads/babi/"
# The last tenth of the stories of each task's training file is for development.
_DEV_SHARE = 10

register_terms(
    _NAME,
    title="bAbI question answering, 1,000 questions a task",
    licence="CC-BY-3.0",
    citation="Weston et al. (2015), Towards AI-Complete Question Answering: A Set of Prerequisite Toy Tasks",
    url=_PAGE,
)


class Story(NamedTuple):
    """Words of the statements so far, then of the question; and the task, such as `qa1`, where stories have one."""

    words: list[str]
    task: str


@register_dataset(_NAME, "story-answer")
def read_babi(config: DataConfig) -> Splits:
    """17 tasks with 1,000 questions each in train and in test: the story before a question, the question, its answer.

    Answers of several words are joined by commas, as in `n,w`.
    """
    splits: dict[str, list[Example]] = {"train": [], "dev": [], "test": []}
    for split in _SPLITS:
        for row in rows(_NAME, split):
            task, questions = row["task"].decode(), list(read_questions(row["text"].decode()))
            stories = questions[-1].story + 1
            for given in questions:
                late = split == "train" and given.story >= stories - stories // _DEV_SHARE
                words = [word for text in (*given.statements, given.question) for word in _tokens(text)]
                splits["dev" if late else split].append((Story(words, task), given.answer))
    return splits


# The same few statements come again and again.
_tokens = functools.cache(tokenize)


class Question(NamedTuple):
    """A question, the statements before it, its answer, and the number of its story in the file."""

    statements: tuple[str, ...]
    question: str
    answer: str
    story: int


def read_questions(text: str) -> Iterator[Question]:
    """The questions of a file as it was published.

    A line is `ID text`, of a question `ID text<TAB>answer<TAB>IDs`; where the ID is 1, a story begins.
    """
    statements: list[str] = []
    number = -1
    for line in text.splitlines():
        place, _, said = line.partition(" ")
        if place == "1":
            statements, number = [], number + 1
        question, tab, rest = said.partition("\t")
        if tab:
            yield Question(tuple(statements), question.strip(), rest.partition("\t")[0], number)
        else:
            statements.append(said)


class BabiQa(PackedFiles):
    """A task and its file of stories and questions; CC BY 3.0."""

    VERSION = "1.0.0"
    FILES = {"babi_en_1k.tar.gz": "813f1e275a348f2724140696963ed181bfea5e2cab29f210af4af28132401698"}
    MIRROR = _NAME

    def _info(self) -> Any:
        import tensorflow_datasets as tfds

        text = tfds.features.Text()
        features = tfds.features.FeaturesDict({"task": text, "text": text})
        return self.dataset_info_from_configs(features=features, homepage=_PAGE, disable_shuffling=True)

    def _split_generators(self, dl_manager: Any) -> Any:
        path = self.paths(dl_manager)["babi_en_1k.tar.gz"]
        return {split: self._generate_examples(path, split) for split in _SPLITS}

    def _generate_examples(self, path: Path, split: str) -> Iterator[tuple[str, dict[str, Any]]]:
        with tarfile.open(path) as archive:
            named = re.compile(rf"/qa(\d+)_[^/]*_{split}\.txt$")
            files = {int(match[1]): name for name in archive.getnames() if (match := named.search(name))}
            for number, name in sorted(files.items()):
                member = archive.extractfile(name)
                assert member is not None
                yield f"qa{number}", {"task": f"qa{number}", "text": member.read().decode()}
