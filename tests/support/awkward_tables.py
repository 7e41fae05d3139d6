"""One table in the ways in which people have it."""

import gzip

import numpy as np

NAMES = ("x1", "x2", "x10")


def table(rows=240, seed=0):
    """Numbers (rows, 3) that follow one another, with four digits."""
    steps = np.arange(rows)[:, None]
    waves = np.sin(steps / [3, 5, 8] + [0, 1, 2]) * [1, 10, 100] + [0, 5, -20]
    return (waves + np.random.default_rng(seed).normal(0, 0.05, waves.shape)).round(4)


def text(values, names=NAMES, *, order=None, sep=",", decimal=".", header=True, time=None, quote=False, more=()):
    """The lines of a table.

    Args:
        values: (T, D).
        names: of its columns.
        order: places of the columns; None: as they are.
        sep, decimal: of cells and numbers.
        header: whether the first line has the names.
        time: a function of the number of a row, whose cell comes first, or None.
        quote: whether all cells are in quotation marks.
        more: pairs of a name and a cell that is the same in every row.
    """
    order = range(len(names)) if order is None else order
    mark = '"' if quote else ""

    def line(cells):
        return sep.join(f"{mark}{cell}{mark}" for cell in cells)

    def shown(value):
        return "" if np.isnan(value) else repr(float(value)).replace(".", decimal)

    lines = []
    if header:
        lines.append(line([*(["when"] if time else []), *(names[i] for i in order), *(name for name, _ in more)]))
    for t, row in enumerate(values):
        cells = [*([time(t)] if time else []), *(shown(row[i]) for i in order), *(cell for _, cell in more)]
        lines.append(line(cells))
    return "\n".join(lines) + "\n"


def forms(values, names=NAMES):
    """Bytes and name of a file for each way to write the table that is read without any option."""
    plain = text(values, names)
    german = text(values, names, sep=";", decimal=",")
    tabs = text(values, names, sep="\t")
    return {
        "plain.csv": plain.encode(),
        "permuted.csv": text(values, names, order=[2, 0, 1]).encode(),
        "german.csv": german.encode(),
        "german-permuted.csv": text(values, names, sep=";", decimal=",", order=[1, 2, 0]).encode(),
        "tabs.tsv": tabs.encode(),
        "comma.tsv": text(values, names, sep="\t", decimal=",").encode(),
        "bom.csv": b"\xef\xbb\xbf" + plain.encode(),
        "windows.csv": plain.replace("\n", "\r\n").encode(),
        "macintosh.csv": plain.replace("\n", "\r").encode(),
        "excel.txt": ("\ufeff" + tabs).encode("utf-16-le"),
        "big-endian.csv": ("\ufeff" + german).encode("utf-16-be"),
        "quoted.csv": text(values, names, quote=True).encode(),
        "spaces.csv": plain.replace(",", " , ").encode(),
        "packed.csv.gz": gzip.compress(plain.encode()),
        "more.csv": text(values, names, more=[("site", "north, left"), ("", "7")], quote=True).encode(),
        "no-end.csv": plain.rstrip("\n").encode(),
    }
