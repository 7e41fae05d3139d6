"""Reads the YAML of manifests: by PyYAML if it is installed, otherwise the subset that this package writes."""

from __future__ import annotations

import json
import re
from typing import Any

# Texts that YAML reads as themselves without quotes.
_PLAIN = re.compile(r"(?=.*[A-Za-z])[A-Za-z0-9][A-Za-z0-9 .,()/+_-]*")
_OTHER_TYPES = ("true", "false", "yes", "no", "on", "off", "null", "y", "n")
# Those that it reads as numbers and dates.
_TYPED = re.compile(r"0x[0-9a-fA-F_]+|0b[01_]+|[0-9][0-9_.]*([eE][-+]?[0-9]+)?|[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}.*")
_LINE = re.compile(r"( *)(- )?([a-z_0-9]+):(?: (.*))?")


class BadYaml(ValueError):
    """A text is not YAML, or not of the accepted subset."""


def scalar(text: str) -> str:
    """A text as a YAML scalar, on one line, as `read_yaml` takes it back with or without PyYAML."""
    typed = text.lower() in _OTHER_TYPES or _TYPED.fullmatch(text)
    if _PLAIN.fullmatch(text) and not typed and text == text.strip():
        return text
    if not text.isprintable():  # a line break, or what YAML takes as an escape alone
        return json.dumps(text)
    return "'" + text.replace("'", "''") + "'"


def read_yaml(text: str) -> Any:
    """The nested mappings and lists of a manifest, with all values as text; the schema says which are numbers.

    Raises:
        BadYaml: it is not YAML; or has anchors, a few of which can expand to gigabytes; or PyYAML is not installed, and
            it is not in the form that this package writes.
    """
    try:
        import yaml
    except ModuleNotFoundError:
        return read_plain(text)

    class Loader(yaml.BaseLoader):  # not by the tags and guesses of YAML: a date or a tag of any text is text
        def compose_node(self, parent: Any, index: Any) -> Any:
            if self.check_event(yaml.AliasEvent):
                raise yaml.composer.ComposerError(None, None, "aliases are not allowed", self.peek_event().start_mark)
            return super().compose_node(parent, index)

    try:
        return yaml.load(text, Loader=Loader)
    except (yaml.YAMLError, ValueError, TypeError, RecursionError) as error:
        raise BadYaml(getattr(error, "problem", None) or type(error).__name__) from None


def read_plain(text: str) -> Any:
    """The same for the subset of this package: `key: value`, and lists of such mappings, indented by two spaces.

    Raises:
        BadYaml: a line is something else.
    """
    tree: dict[str, Any] = {}
    # (indent of its keys, the mapping) from the outside in; and for a key without a value, where its list goes.
    stack: list[tuple[int, dict[str, Any]]] = [(0, tree)]
    waiting: dict[int, tuple[dict[str, Any], str]] = {}
    for number, line in enumerate(text.splitlines(), 1):
        match = _LINE.fullmatch(line)
        if match is None:
            raise BadYaml(f"line {number} needs PyYAML: pip install pyyaml")
        indent, item, key, value = len(match[1]) + len(match[2] or ""), bool(match[2]), match[3], match[4]
        while stack[-1][0] > len(match[1]):
            stack.pop()
        if item:
            owner, name = waiting.get(len(match[1]), (None, ""))
            if owner is None:
                raise BadYaml(f"line {number} is an item of no list")
            rows = owner[name] = owner[name] or []
            rows.append({})
            stack.append((indent, rows[-1]))
        if stack[-1][0] != indent or key in stack[-1][1]:
            raise BadYaml(f"line {number} is indented as none before it, or says the same twice")
        stack[-1][1][key] = _value(value, number)
        if value is None:
            waiting[indent] = (stack[-1][1], key)
    return tree


def _value(text: str | None, number: int) -> Any:
    if text is None:
        return None
    if text == "[]":
        return []
    if text.isascii() and text.isdecimal():
        return text
    if len(text) > 1 and text[0] == text[-1] == "'":
        return text[1:-1].replace("''", "'")
    if not _PLAIN.fullmatch(text):
        raise BadYaml(f"line {number} needs PyYAML: pip install pyyaml")
    return text
