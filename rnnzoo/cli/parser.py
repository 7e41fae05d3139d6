"""The arguments of every command."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

import rnnzoo
from rnnzoo.cli import commands
from rnnzoo.errors import UsageError
from rnnzoo.util.suggest import suggest


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message}; see `{self.prog} --help`")


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """The arguments; `run` is the function to call with them.

    Raises:
        UsageError: a command or option is unknown, or an argument is missing.
    """
    parser, names = _parser()
    command = next((word for word in argv if not word.startswith("-")), None)
    if command is None and not {"-h", "--help", "--version"} & set(argv):
        raise UsageError(f"expected a command: {', '.join(names)}; see `rnnzoo --help`")
    if command is not None and command not in names:
        raise UsageError(f"unknown command {command!r}; {suggest(command, names)}")
    arguments, rest = parser.parse_known_args(list(argv))
    # argparse takes KEY=VALUE before the options only.
    late = [word for word in rest if "=" in word and not word.startswith("-") and hasattr(arguments, "overrides")]
    if unknown := [word for word in rest if word not in late]:
        raise UsageError(f"unknown argument {unknown[0]!r}; see `rnnzoo {command} --help`")
    if late:
        arguments.overrides = [*arguments.overrides, *late]
    return arguments


def _parser() -> tuple[argparse.ArgumentParser, list[str]]:
    common = _Parser(add_help=False)
    common.add_argument("--debug", action="store_true", default=argparse.SUPPRESS, help="show tracebacks")
    common.add_argument(
        "--import",
        dest="modules",
        action="append",
        default=argparse.SUPPRESS,
        metavar="FILE.py",
        help="run it first: it registers a cell or a data set of your own",
    )
    parser = _Parser("rnnzoo", description=rnnzoo.__doc__, parents=[common])
    parser.add_argument("--version", action="version", version=f"rnnzoo {rnnzoo.__version__}")
    subparsers = parser.add_subparsers(metavar="COMMAND", parser_class=_Parser)

    def command(name: str, run: Any, text: str) -> argparse.ArgumentParser:
        made = subparsers.add_parser(name, help=text, description=text, parents=[common])
        made.set_defaults(run=run)
        return made

    _train(command("train", commands.train, "Train a model from a configuration and save the run."))
    _sweep(command("sweep", commands.sweep, "Train every combination of some settings, and compare them."))
    _compare(command("compare", commands.compare, "Put runs side by side, and the classical method beside them."))
    _diagnose(command("diagnose", commands.diagnose, "Plot how gradients flow through the layers and through time."))
    _evaluate(
        command(
            "evaluate",
            commands.evaluate,
            "Measure a run three times: offline by Keras, streamed in float32, and streamed with int8 weights "
            "(as `rnnzoo export --quantize dynamic` makes it).",
        )
    )
    _export(command("export", commands.export, "Convert a run to a streaming .tflite file, verified."))
    _bundle(command("bundle", commands.bundle, "Make a bundle of a run: ready files, figures, card, manifest."))
    _download(command("download", commands.download, "Download pretrained models to the cache, verified."))
    _paper(command("paper", commands.paper, "Train what a paper trained, and put its figures beside ours."))
    _demo(command("demo", commands.demo, "Tag text word by word with the pretrained streaming tagger."))
    _compose(command("compose", commands.compose, "Compose a chorale in four voices, as MIDI and as sound."))
    _draw(command("draw", commands.draw, "Draw with a sketcher, such as draw-kanji, and save the picture."))
    _list(command("list", commands.list_models, "List the models of the zoo."))
    _info(command("info", commands.info, "Show what a model of the zoo is made of."))
    return parser, list(subparsers.choices)


def _one_of(*known: str) -> Callable[[str], str]:
    """Refuses what is not known in our words: argparse would list Python literals."""

    def check(text: str) -> str:
        if text not in known:
            raise argparse.ArgumentTypeError(f"expected one of {', '.join(known)}; received {text!r}")
        return text

    return check


def _run(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("source", metavar="RUN", help="folder of a saved run, or name of a pretrained model")


def _train(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("config", metavar="CONFIG", help="YAML file, or name of a model of the zoo")
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help="such as training.epochs=3")
    parser.add_argument("--out", type=Path, metavar="FOLDER", help="where the run goes (runs/NAME)")
    kind = _one_of("float32", "float16")
    parser.add_argument("--dtype", default="float32", type=kind, help="of the stored weights, or float16 (float32)")
    parser.add_argument("--overwrite", action="store_true", help="replace a run that is there")
    parser.add_argument("--start", metavar="RUN", help="a run or pretrained model whose weights to start from")
    strategy = _one_of("mirrored", "multiworker")
    parser.add_argument(
        "--strategy",
        type=strategy,
        metavar="KIND",
        help="mirrored: on all GPUs of this machine; multiworker: with the processes that TF_CONFIG lists (one device)",
    )


def _sweep(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("config", metavar="CONFIG", help="YAML file, or name of a model of the zoo")
    parser.add_argument("overrides", nargs="*", metavar="KEY=A,B", help="such as model.units=128,256")
    parser.add_argument("--out", type=Path, metavar="FOLDER", help="where the runs go (runs/NAME.sweep)")


def _compare(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "sources", nargs="+", metavar="RUN", help="folders of saved runs, or names of pretrained models"
    )


def _diagnose(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("source", nargs="?", metavar="RUN|CONFIG", help="a run, or a configuration with fresh weights")
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help="for a configuration")
    parser.add_argument("--out", type=Path, default=Path("diagnosis"), metavar="FOLDER", help="for plots (diagnosis)")
    parser.add_argument(
        "--demonstration",
        action="store_true",
        help="show vanishing and exploding gradients in a vanilla RNN, and what mends them, on made-up sequences",
    )


def _evaluate(parser: argparse.ArgumentParser) -> None:
    _run(parser)
    split = _one_of("train", "dev", "test")
    parser.add_argument(
        "--split", type=split, help="train, dev or test (test; dev where a threshold is chosen by --false-alarms)"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there too")
    parser.add_argument("--csv", type=Path, metavar="FILE", help="the same, a line for each figure")
    parser.add_argument("--plots", type=Path, metavar="FOLDER", help="draw learning curves, mistakes, attention, ...")
    spotting = parser.add_argument_group(
        "keyword spotters", "misses, false alarms an hour and delay, over thresholds, of the int8 file as it streams"
    )
    add = spotting.add_argument
    add("--audio", type=Path, metavar="FILE|FOLDER", help="measure on own recordings; RUN may be a .tflite file")
    add("--labels", type=Path, metavar="TSV", help="where keywords are said: file, begin, end (seconds) and label")
    add("--false-alarms", type=_rate, metavar="R", help="find the lowest threshold with at most R false alarms an hour")
    add("--save", action="store_true", help="write that threshold to the configuration of the run")
    add("--skip-bad", action="store_true", help="leave out files that are no recordings, and list them")


def _export(parser: argparse.ArgumentParser) -> None:
    _run(parser)
    parser.add_argument("out", type=Path, metavar="OUT.tflite")
    parser.add_argument(
        "--quantize",
        default="none",
        type=_one_of("none", "float16", "dynamic", "int8"),
        metavar="KIND",
        help="float16; dynamic: int8 weights; int8: activations too, calibrated on the training split (none)",
    )
    parser.add_argument("--target", metavar="NAME", help="micro: for TensorFlow Lite for Microcontrollers")
    parser.add_argument(
        "--features",
        action="store_true",
        help="audio models: take log-mel features that the client makes (samples; the front end is in the graph)",
    )
    spotting = parser.add_argument_group("keyword spotters", "what the file says in place of the configuration")
    add = spotting.add_argument
    add("--threshold", type=float, metavar="P", help="smoothed probability that makes a keyword an event")
    add("--smoothing", type=float, metavar="S", help="seconds over which probabilities are averaged")
    add("--refractory", type=float, metavar="S", help="seconds without the lead before a keyword can come again")
    add("--background", metavar="A,B", help="labels that are no keywords")


def _rate(text: str) -> float:
    try:
        rate = float(text)
    except ValueError:
        rate = -1.0
    if not 0 <= rate < 1e6:
        raise argparse.ArgumentTypeError(f"expected a number of false alarms an hour, 0 or more; received {text!r}")
    return rate


def _bundle(parser: argparse.ArgumentParser) -> None:
    _run(parser)
    parser.add_argument("--to", type=Path, metavar="FOLDER", help="the folder of all bundles (pretrained)")
    parser.add_argument(
        "--test", type=Path, metavar="FILE", help="figures that `rnnzoo evaluate --json` wrote (measured anew)"
    )
    parser.add_argument("--commit", metavar="HASH", help="that trained it, where the run does not say")


def _download(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("names", nargs="*", metavar="NAME", help="a name, a pattern such as 'tagger*', or NAME@REVISION")
    add("--list", action="store_true", help="show what there is and what is cached")
    add("--verify", action="store_true", help="check every cached file, without a network")
    add("--prune", action="store_true", help="remove all but the current revisions, without a network")
    add("--offline", action="store_true", help="open no socket (RNNZOO_OFFLINE=1)")
    add("--url", metavar="URL", help="where from: https, http or file; several by spaces (RNNZOO_URL)")
    add("--cache", metavar="FOLDER", help="where to (RNNZOO_CACHE, else rnnzoo in the user's cache)")


def _demo(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("input", nargs="?", metavar="-", help="read text from standard input, line by line")
    parser.add_argument("--text", help="tag this text")
    parser.add_argument("--fast", action="store_true", help="no pauses between the words")
    parser.add_argument("--bundle", metavar="RUN", help="another tagger: folder of a run, or its name")


def _compose(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("source", nargs="?", default="compose-chorales", metavar="RUN", help="a composer (compose-chorales)")
    add("--out", type=Path, action="append", metavar="FILE", help=".mid or .wav; again for both (chorale.mid)")
    add("--chords", type=_whole, default=48, metavar="N", help="at most, where no voice is given (48)")
    add("--melody", metavar="NOTES|FILE.mid", help='the highest voice, a note a chord, such as "67 69 C5 B4"')
    add("--bass", metavar="NOTES|FILE.mid", help="the lowest voice")
    add("--temperature", type=_real, metavar="X", help="below 1: more usual chords (that of the file)")
    add(
        "--tries", type=_whole, default=8, metavar="N", help="draws of a chord that makes parallels (8); 1: as it comes"
    )
    add("--tempo", type=_real, default=72.0, metavar="X", help="quarter notes a minute (72)")
    add("--seed", type=_whole, default=0, metavar="N", help="the same seed gives the same piece (0)")


def _draw(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("source", nargs="?", default="draw-kanji", metavar="RUN", help="a sketcher (draw-kanji)")
    parser.add_argument("--out", type=Path, default=Path("drawings.png"), metavar="FILE", help="(drawings.png)")
    parser.add_argument("--count", type=_whole, default=24, metavar="N", help="drawings (24)")
    parser.add_argument("--temperature", type=_real, metavar="X", help="below 1: more regular (that of the file)")
    parser.add_argument("--seed", type=_whole, default=0, metavar="N", help="the same seed gives the same picture (0)")


def _whole(text: str) -> int:
    if not text.isdecimal() or len(text) > 9:
        raise argparse.ArgumentTypeError(f"expected a whole number, 0 or more; received {text!r}")
    return int(text)


def _real(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected a number; received {text!r}") from None


def _paper(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", nargs="?", metavar="NAME", help="a paper, as --list shows it")
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help="such as seeds=[1] or full.units=64")
    parser.add_argument("--list", action="store_true", help="show the papers")
    parser.add_argument("--tiny", action="store_true", help="for seconds, to see the direction of the claims")
    parser.add_argument("--out", type=Path, default=Path("papers"), metavar="DIR", help="for the results (papers)")


def _list(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("pattern", nargs="?", default="*", help="such as 'tagger*'")
    parser.add_argument("--pretrained", action="store_true", help="only models with weights")
    parser.add_argument(
        "--licence", metavar="NAME", help="only weights under it: Apache-2.0, or a pattern of SPDX names"
    )


def _info(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", metavar="MODEL", help="a name, the folder of a run, or a YAML file")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw its layers to a .png, .svg or .pdf")
    parser.add_argument("--yaml", action="store_true", help="only its configuration, with every default, to begin from")
