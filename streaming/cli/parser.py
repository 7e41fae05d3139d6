"""The arguments of every command."""

from __future__ import annotations

import argparse
import difflib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from streaming.cli import commands, serve


class UsageError(ValueError):
    """The command line says something that no command takes."""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message}; see `{self.prog} --help`")


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """The arguments; `run` is the function to call with them.

    Raises:
        UsageError: a command or option is unknown, or an argument is missing or no number.
    """
    parser, names = _parser()
    command = next((word for word in argv if not word.startswith("-")), None)
    if command is None and not {"-h", "--help"} & set(argv):
        raise UsageError(f"expected a command: {', '.join(names)}; see `streaming --help`")
    if command is not None and command not in names:
        near = difflib.get_close_matches(command, names, 1, cutoff=0.5)
        hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(names)}"
        raise UsageError(f"unknown command {command!r}; {hint}")
    return parser.parse_args(list(argv))


def _parser() -> tuple[argparse.ArgumentParser, list[str]]:
    common = _Parser(add_help=False)
    common.add_argument("--debug", action="store_true", default=argparse.SUPPRESS, help="show tracebacks")
    parser = _Parser("streaming", description="Keras sequence models as verified streams.", parents=[common])
    found = parser.add_subparsers(metavar="COMMAND", parser_class=_Parser)

    def command(name: str, run: Any, text: str) -> argparse.ArgumentParser:
        made = found.add_parser(name, help=text, description=text, parents=[common])
        made.set_defaults(run=run)
        return made

    _convert(command("convert", commands.convert, "Turn a .keras model into a streaming .tflite, verified."))
    _inspect(command("inspect", commands.inspect, "Show what a streaming model is, takes, gives and costs."))
    _run(command("run", commands.run, "Stream steps or text through a model, outputs as JSON lines."))
    _bench(command("bench", commands.bench, "Measure the time of a step, throughput and memory."))
    _serve(command("serve", serve.run, "Serve a model over WebSocket, with a page, health and metrics."))
    return parser, list(found.choices)


def _convert(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("model", type=Path, metavar="MODEL.keras")
    add("out", type=Path, metavar="OUT.tflite")
    add("--chunk", type=int, metavar="N", help="steps an invoke (the smallest legal number, mostly 1)")
    add("--batch-sizes", type=_numbers, default=(1,), metavar="1,16", help="streams an invoke, a signature each (1)")
    add("--state", default="external", metavar="KIND", help="external or internal (external)")
    add("--quantize", metavar="KIND", help="float16, dynamic (int8 weights) or int8; float32 without it")
    add("--lookahead", type=int, metavar="N", help="steps of right context granted to Bidirectional layers")
    add("--attention-window", type=int, metavar="N", help="steps of the past granted to causal attention")
    add("--encode", type=_names, default=(), metavar="A,B", help="inputs that are given whole, before the first step")
    add("--max-length", type=int, metavar="N", help="most positions of an input that is given whole")
    add("--calibration", type=Path, metavar="FILE", help=".npy (N, T, features), or .npz of sequences (T, features)")
    add("--tolerance", type=float, metavar="X", help="largest difference from the offline model that is accepted")
    add("--import", dest="modules", action="append", default=[], metavar="MODULE", help="import it first: it registers")


def _inspect(parser: argparse.ArgumentParser) -> None:
    _model(parser)
    parser.add_argument("--json", action="store_true", help="everything, for programs")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw the plan to a .png, .svg or .pdf")


def _run(parser: argparse.ArgumentParser) -> None:
    _model(parser)
    parser.description = (
        f"{parser.description} A step a line: a JSON array of its features (an object by input name where there are "
        "several inputs), or comma-separated numbers. A blank line ends the sequence. Taggers and classifiers take a "
        "text a line."
    )
    parser.add_argument("input", nargs="?", default="-", metavar="FILE", help="- is standard input (-)")
    _runtime(parser)


def _bench(parser: argparse.ArgumentParser) -> None:
    _model(parser)
    parser.add_argument("--steps", type=_positive, default=2000, metavar="N", help="steps to measure (2000)")
    parser.add_argument("--json", action="store_true", help="the figures, for programs")
    _runtime(parser)


def _serve(parser: argparse.ArgumentParser) -> None:
    _model(parser)
    serve.add_arguments(parser)
    _runtime(parser)


def _model(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", type=Path, metavar="MODEL.tflite")


def _runtime(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--runtime", default="auto", metavar="NAME", help="litert, tflite_runtime, tf or auto (auto)")
    parser.add_argument("--threads", type=_positive, default=1, metavar="N", help="threads of the interpreter (1)")


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number, 1 or more, got {text!r}")
    return int(text)


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(_positive(part.strip()) for part in text.split(","))


def _names(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())
