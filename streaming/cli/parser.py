"""The arguments of every command."""

from __future__ import annotations

import argparse
import difflib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from streaming.cli import commands, serve


class UsageError(ValueError):
    """The arguments are not valid for any command."""


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
    arguments, rest = parser.parse_known_args(list(argv))
    if len(rest) == 1 and not rest[0].startswith("-") and getattr(arguments, "input", "") is None:
        # argparse gives up on an argument that may be absent when the first option comes.
        arguments.input, rest = rest[0], []
    if rest:
        raise UsageError(f"unrecognized arguments: {' '.join(rest)}; see `streaming --help`")
    return arguments


def _parser() -> tuple[argparse.ArgumentParser, list[str]]:
    common = _Parser(add_help=False)
    common.add_argument("--debug", action="store_true", default=argparse.SUPPRESS, help="show tracebacks")
    parser = _Parser("streaming", description="Keras sequence models as verified streams.", parents=[common])
    subparsers = parser.add_subparsers(metavar="COMMAND", parser_class=_Parser)

    def command(name: str, run: Any, text: str) -> argparse.ArgumentParser:
        made = subparsers.add_parser(name, help=text, description=text, parents=[common])
        made.set_defaults(run=run)
        return made

    _convert(command("convert", commands.convert, "Turn a .keras model into a streaming .tflite, verified."))
    _adopt(command("adopt", commands.adopt, "Make a streaming file of a stateful .tflite that another tool made."))
    _inspect(command("inspect", commands.inspect, "Show what a streaming model is, takes, gives and costs."))
    _run(command("run", commands.run, "Stream text, rows, audio or steps through a model."))
    _bench(command("bench", commands.bench, "Measure the time of a step, throughput and memory."))
    _vectors(command("vectors", commands.vectors, "Write test vectors for clients in other languages, as JSON."))
    _micro(command("micro", commands.micro, "Write what a microcontroller's firmware needs: data, arena, step loop."))
    _esphome(command("esphome", commands.esphome, "Write a wake word and its manifest for ESPHome."))
    _serve(command("serve", serve.run, "Serve a model over WebSocket, with a page, health and metrics."))
    return parser, list(subparsers.choices)


def _convert(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("model", type=Path, metavar="MODEL.keras")
    add("out", type=Path, metavar="OUT.tflite")
    add("--window", type=_window, metavar="W", help="the model of the last W steps; carry: state carried on")
    add("--hop", type=int, default=1, metavar="H", help="steps between two windows (1)")
    add("--pad", metavar="SIDE", help="pre or post: fill windows that are not full yet with zeros")
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
    add("--target", metavar="NAME", help="micro: for TensorFlow Lite for Microcontrollers; esphome: a wake word for it")
    add("--compact", action="store_true", help="store weights that are float16 numbers in half the bytes")
    add("--import", dest="modules", action="append", default=[], metavar="MODULE", help="import it first: it registers")


def _adopt(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("model", type=Path, metavar="FOREIGN.tflite")
    add("out", type=Path, metavar="OUT.tflite")
    add(
        "--state",
        dest="states",
        type=_pair,
        action="append",
        metavar="INPUT=OUTPUT",
        help="a state to carry",
    )
    add("--no-states", dest="states", action="store_const", const=[], help="no input is a state")
    add("--initial", type=Path, metavar="FILE.npz", help="values of states before the first step, by input (zeros)")
    add("--chunk", type=_positive, metavar="N", help="steps an invoke takes (the size of axis 1)")
    add("--static", type=_names, default=(), metavar="A,B", help="inputs that are given whole at every call")
    add("--rows", type=_pair, action="append", default=[], metavar="OUTPUT=N", help="rows that an invoke gives")
    add("--signature", metavar="NAME", help="the signature that is a step (step, serving_default or the only one)")
    add("--reset", metavar="NAME", help="the signature that sets states inside the model (reset)")
    add("--trust", action="store_true", help="let operations in that are not verified; only for files of your own")


def _inspect(parser: argparse.ArgumentParser) -> None:
    _model(parser)
    parser.add_argument("--json", action="store_true", help="everything, for programs")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw the plan to a .png, .svg or .pdf")


def _run(parser: argparse.ArgumentParser) -> None:
    _model(parser)
    parser.description = (
        f"{parser.description} What the input holds follows from the task of the model: lines of text; rows of "
        "numbers (CSV with or without a header, or JSON), a blank line ends a sequence; a WAV, FLAC or OGG file; a "
        "picture (PNG, JPEG) or an array (.npy). Without a task each line is a step. A terminal shows outputs as they "
        "come, a pipe gets JSON objects, one a line."
    )
    add = parser.add_argument
    add("input", nargs="?", metavar="FILE", help="- is standard input (-)")
    add("--microphone", action="store_true", help="listen to the microphone (extra `microphone`)")
    add("--mono", action="store_true", help="mix the channels of audio down")
    add("--resample", action="store_true", help="change the sample rate of audio to the model's")
    add("--resize", action="store_true", help="change the size of a picture to the model's")
    add("--raw", metavar="FORMAT", help="samples without a header: u8, s16le, s24le, s32le, f32le or f64le")
    add("--rate", type=_positive, metavar="N", help="samples a second of --raw")
    add("--channels", type=_positive, default=1, metavar="N", help="interleaved channels of --raw (1)")
    add("--threshold", type=_number, metavar="P", help="smoothed probability that makes a keyword an event")
    add("--smoothing", type=_number, metavar="S", help="seconds over which the probabilities of keywords are averaged")
    add("--refractory", type=_number, metavar="S", help="seconds without the lead before a keyword can come again")
    add("--background", type=_names, metavar="A,B", help="labels that are no keywords")
    add("--json", action="store_true", help="JSON lines on a terminal too")
    add("--encoding", metavar="NAME", help="of text and tables, such as cp1252 (UTF-8, or UTF-16 where it says so)")
    add("--skip-bad-rows", action="store_true", help="report rows of a table that are none, leave them out, go on")
    add("--wait-k", type=_positive, metavar="K", help="translate word by word, K words behind")
    add("--width", type=_positive, metavar="N", help="beam of a translator or captioner")
    add("--length-penalty", type=_number, metavar="X", help="0 prefers short texts, 1 does not")
    add("--n-best", type=_positive, metavar="N", help="texts for each input")
    add("--max-length", type=_positive, metavar="N", help="pieces of a text at most")
    add("--style", metavar="NAME", help="of the text that a generator with styles writes")
    add("--voice", metavar="NAME", help="of a synthesizer (the first of its voices)")
    add("--out", type=Path, metavar="DIR", help="folder for the WAV files of a synthesizer, one a line")
    add("--temperature", type=_number, metavar="X", help="of a generator; 0 takes the most probable piece")
    add("--top-k", type=_positive, metavar="K", help="draw among the K most probable pieces")
    add("--top-p", type=_number, metavar="P", help="draw among the fewest pieces that reach P together")
    add("--seed", type=_positive, metavar="N", help="the same seed gives the same text (0)")
    _runtime(parser)
    _safety(parser)


def _bench(parser: argparse.ArgumentParser) -> None:
    _model(parser)
    parser.add_argument("--steps", type=_positive, default=2000, metavar="N", help="steps to measure (2000)")
    parser.add_argument("--json", action="store_true", help="the figures, for programs")
    _runtime(parser)


def _vectors(parser: argparse.ArgumentParser) -> None:
    _model(parser)
    parser.add_argument("out", type=Path, metavar="OUT.json")
    _runtime(parser)


def _esphome(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("model", type=Path, metavar="MODEL.tflite", help="converted with --target esphome")
    add("folder", type=Path, metavar="FOLDER")
    add("--wake-word", required=True, metavar="WORDS", help="as people read them; names the files")
    add("--cutoff", type=float, default=0.97, metavar="P", help="mean probability that is a wake word (0.97)")
    add("--window", type=_positive, default=5, metavar="N", help="probabilities in that mean (5)")
    add("--author", default="", metavar="NAME")
    add("--website", default="", metavar="URL")
    add("--languages", type=_names, default=("en",), metavar="en,de", help="languages of the training data (en)")


def _micro(parser: argparse.ArgumentParser) -> None:
    _model(parser)
    parser.add_argument("folder", type=Path, metavar="DIR")


def _serve(parser: argparse.ArgumentParser) -> None:
    _model(parser)
    serve.add_arguments(parser)
    _runtime(parser)
    _safety(parser)


def _model(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", type=Path, metavar="MODEL.tflite")


def _runtime(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--runtime", default="auto", metavar="NAME", help="litert, tflite_runtime, tf, tflite_micro or auto"
    )
    parser.add_argument("--threads", type=_positive, default=1, metavar="N", help="threads of the interpreter (1)")


def _safety(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--isolated", action="store_true", help="run the interpreter in a process of its own, for files from strangers")
    add("--trust", action="store_true", help="let operations in that are not verified; only for files of your own")


def _window(text: str) -> int | str:
    return int(text) if text.lstrip("-").isdecimal() else text


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number, 1 or more, got {text!r}")
    return int(text)


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected a number, got {text!r}") from None


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(_positive(part.strip()) for part in text.split(","))


def _pair(text: str) -> tuple[str, str]:
    name, separator, value = text.rpartition("=")
    if not (name and separator and value):
        raise argparse.ArgumentTypeError(f"expected NAME=VALUE, got {text!r}")
    return name, value


def _names(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())
