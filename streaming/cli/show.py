"""Output of the commands: small tables, in plain text."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any


def table(titles: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """Text of a table: columns under their titles, columns of numbers aligned to the right."""
    texts = [[_cell(value) for value in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(titles, *texts, strict=True)]
    right = [all(_numeric(row[index]) for row in texts) for index in range(len(titles))]
    lines = []
    for row in (list(titles), *texts):
        cells = zip(row, widths, right, strict=True)
        lines.append("  ".join(c.rjust(w) if r else c.ljust(w) for c, w, r in cells).rstrip())
    return "\n".join("  " + line for line in lines)


def _cell(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, list | tuple):
        return "x".join(map(str, value)) or "scalar"
    # Names come from the file: a terminal must not obey them.
    return "".join(c if c.isprintable() else "?" for c in str(value))


def _numeric(text: str) -> bool:
    return text in ("", "-") or (text[0].isdigit() and "x" not in text)


def size(count: int) -> str:
    """A number of bytes in readable units."""
    if count < 10_000:
        return f"{count:,} bytes"
    return f"{count / 1e6:.2f} MB" if count >= 1e6 else f"{count / 1e3:.1f} kB"


def show_description(description: dict[str, Any]) -> str:
    """Text of `streaming inspect`, from the result of `describe`."""
    reuse = ("reuse",) if description["window"] is not None else ()
    parts = [
        _head(description),
        _section("signatures", ("name", "streams", "steps", "multiply-adds", "weights"), _signatures(description)),
        _section("inputs", ("name", "shape", "dtype", "time", "values"), _inputs(description)),
        _section("given before the first step", ("name", "shape", "dtype", "length"), _encoded(description)),
        _section("outputs", ("name", "shape", "dtype", "delay", "rate", "note"), _outputs(description)),
        _section("states", ("name", "shape", "dtype", "bytes"), [list(row.values()) for row in description["states"]]),
        _section("plan", ("layer", "kind", "shape", "rate", "delay", *reuse, "state"), _plan(description)),
        _section("operations", ("operation", *description["signatures"]), _operations(description)),
        _section("files", ("name", "bytes"), description["files"].items()),
    ]
    return "\n\n".join(part for part in parts if part)


def _head(description: dict[str, Any]) -> str:
    source, task = description["source"], description["task"]
    lines = {
        "model": _cell(source.get("model", "unnamed")),
        "task": _cell((task or {}).get("kind", "none")),
        "made from": ", ".join(f"{_cell(k)} {_cell(v)}" for k, v in source.items() if k not in ("model", "quantize")),
        "weights": f"{size(description['weight_bytes'])}, quantization {_cell(source.get('quantize', 'unknown'))}",
        "state": f"{size(description['state_bytes'])} a stream, {description['state']}",
        "timing": _timing(description),
        "verified": _proof(description["verification"]),
        "drift": _drift(description["verification"].get("drift")),
        "fingerprint": description["fingerprint"],
    }
    for note in description["verification"].get("notes", []):
        lines["note"] = f"{lines['note']}; {_cell(note)}" if "note" in lines else _cell(note)
    body = "\n".join(f"  {name:<12} {text}" for name, text in lines.items() if text)
    return f"{_cell(description['file'])} ({size(description['size_bytes'])})\n{body}"


def _timing(description: dict[str, Any]) -> str:
    chunk, delay = description["chunk"], description["delay"]
    text = f"{chunk} step{'s' * (chunk > 1)} a chunk"
    if description["window"] is not None:
        every = "step" if description["hop"] == 1 else f"{description['hop']} steps"
        filled = f", filled with zeros ({description['pad']}) until it is full" if description["pad"] else ""
        return f"{text}, the model of the last {description['window']} steps every {every}{filled}"
    text = f"{text}, delay {delay} step{'s' * (delay != 1)}"
    return f"{text}, finish() runs {description['flush']} more" if description["flush"] else text


def _proof(verification: dict[str, Any]) -> str:
    if "max_abs_error" not in verification:
        return "no"
    text = (
        f"max error {verification['max_abs_error']:.2g} ({verification['max_relative_error']:.2g} relative) over "
        f"{verification['sequences']} sequences, {verification['steps']} steps, tolerance {verification['tolerance']:g}"
    )
    measured = verification.get("approximation")
    if measured:
        text += f"; limited context costs {measured['rms_error']:.2g} rms of values up to {measured['scale']:.2g}"
    return text


def _same(share: float | None) -> str:
    return "" if share is None else f"; {share:.2%} of the decisions are the same"


def _drift(drift: dict[str, Any] | None) -> str:
    if not drift:
        return ""
    return (
        f"{drift['rms_error']:.2g} rms from float32 over {drift['steps']:,} steps, {drift['begin']:.2g} at first and "
        f"{drift['end']:.2g} at last" + _same(drift.get("same"))
    )


def _section(title: str, titles: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    rows = list(rows)
    return f"{title}\n{table(titles, rows)}" if rows else ""


def _signatures(description: dict[str, Any]) -> list[list[Any]]:
    return [
        [name, s.get("batch", "-"), s.get("chunk", "-"), s["multiply_adds"], size(s["weight_bytes"])]
        for name, s in description["signatures"].items()
    ]


def _inputs(description: dict[str, Any]) -> list[list[Any]]:
    rows = []
    for info in description["inputs"]:
        values = _scale(info) if info["high"] is None else f"{info['low'] or 0} to {info['high'] - 1}"
        rows.append([info["name"], info["shape"], info["dtype"], "a row a step" if info["time"] else "whole", values])
    return rows


def _encoded(description: dict[str, Any]) -> list[list[Any]]:
    encode = description["encode"] or {"inputs": ()}
    return [
        [info["name"], info["shape"], info["dtype"], f"up to {encode['max_length']}" if info["time"] else "whole"]
        for info in encode["inputs"]
    ]


def _outputs(description: dict[str, Any]) -> list[list[Any]]:
    rows = []
    for info in description["outputs"]:
        up, down = info["rate"]
        delay = -(-info["start"] * down // up)
        note = "running: the last row is the model's output" if info["running"] else _scale(info)
        rows.append([info["name"], info["shape"], info["dtype"], delay, f"{up}/{down}" if down > 1 else str(up), note])
    return rows


def _scale(info: dict[str, Any]) -> str:
    """Formula of the numbers that the integers of a quantized tensor stand for."""
    return "" if info["scale"] is None else f"{info['scale']:.6g} x (value - {info['zero_point'] or 0})"


def _plan(description: dict[str, Any]) -> list[list[Any]]:
    rows = []
    for row in description["plan"]:
        states = ", ".join(f"{name} {_cell(shape)}" for name, shape in row["states"].items())
        reuse = ["anew" if row.get("anew") else "kept"] if description["window"] is not None else []
        rate = "once" if row.get("encoded") else row["rate"]
        rows.append([row["name"], row["kind"], row["shape"], rate, row["delay"], *reuse, states])
    return rows


def _operations(description: dict[str, Any]) -> list[list[Any]]:
    costs = [signature["operations"] for signature in description["signatures"].values()]
    names = sorted({name for counts in costs for name in counts})
    return [[name, *(counts.get(name, 0) for counts in costs)] for name in names]


def show_report(report: Any) -> str:
    """Text of `streaming convert`, from the report of a conversion."""
    sizes = (f"{name} ({batch} x {steps})" for name, (batch, steps) in report.signatures.items())
    lines = [str(report), f"signatures (streams x steps): {', '.join(sizes)}"]
    if report.drift:
        drift = report.drift
        lines.append(
            f"quantization drifts {drift.rms_error:.3g} rms over {drift.steps:,} steps, {drift.begin:.3g} at first and "
            f"{drift.end:.3g} at last, of values up to {drift.scale:.3g}" + _same(drift.same)
        )
    if report.approximation:
        measured = report.approximation
        lines.append(
            f"limited context costs {measured.rms_error:.3g} rms, at most {measured.max_abs_error:.3g}, of values "
            f"up to {measured.scale:.3g} over {measured.steps} steps"
        )
    if report.policy:
        policy = report.policy
        lines.append(
            f"the model's own dtype policy ({', '.join(policy.policies)}) differs from float32, in which the stream "
            f"computes, by {policy.max_abs_error:.3g} of values up to {policy.scale:.3g}"
        )
    lines += [f"note: {note}" for note in report.notes]
    return "\n".join([*lines, f"next: streaming inspect {report.path}"])


def show_bench(bench: dict[str, Any]) -> str:
    """Text of `streaming bench`, from the result of `run_benchmark`."""
    step, bare = bench["step_us"], bench["bare_invoke_us"]
    rows = [["Stream.step", *(f"{step[key]:.1f}" for key in ("p50", "p99", "p99.9"))]]
    rows.append(["bare invoke", *(f"{bare[key]:.1f}" for key in ("p50", "p99", "p99.9"))])
    over = step["p50"] - bare["p50"]
    batches = [
        [row["streams"], row["chunk"], f"{row['p50_us']:.1f}", f"{row['steps_per_second']:,.0f}"]
        for row in bench["throughput"]
    ]
    return "\n".join(
        [
            f"{bench['file']} on {bench['runtime']}, {bench['threads']} thread{'s' * (bench['threads'] > 1)}, "
            f"{bench['steps']:,} steps of {bench['chunk']}",
            table(("microseconds", "p50", "p99", "p99.9"), rows),
            f"  checks, tensors and state cost {over:.1f} us a step",
            table(("streams", "steps", "p50 us", "steps a second"), batches),
            f"  loaded in {bench['load_ms']:.1f} ms; memory: {size(bench['model_bytes'])} for model and runtime, "
            f"{size(bench['state_bytes'])} a stream, {size(bench['peak_bytes'])} at most for the process",
        ]
    )


def show_adoption(report: Any) -> str:
    """Text of `streaming adopt`, from the report of an adoption."""
    inputs = [[i.name, i.shape, i.dtype, "a row a step" if i.time else "whole", _scale(vars(i))] for i in report.inputs]
    outputs = [[o.name, o.shape, o.dtype, "/".join(map(str, o.rate)), _scale(vars(o))] for o in report.outputs]
    parts = [
        str(report),
        _section("inputs", ("name", "shape", "dtype", "time", "values"), inputs),
        _section("outputs", ("name", "shape", "dtype", "rows a step", "values"), outputs),
    ]
    return "\n\n".join(_cell(part) if part is parts[0] else part for part in parts)
