#!/usr/bin/env node
// stream.mjs MODEL [--raw | --steps] [--max-length N] [--temperature X] [--seed N] reads standard input and writes JSON lines, or raw rows, as the C client's
// command does: with a task a sentence, a text or a row a line, an empty line ends a sequence of rows, audio is a WAV file; without,
// and with --steps, a step a line, or a word or text where the input takes strings. --raw: little-endian steps of all inputs in, rows of the first output out.

import { readFile } from "node:fs/promises";
import { createInterface } from "node:readline";
import { buffer } from "node:stream/consumers";

import { StreamingError, open, readWav } from "../dist/node.js";

const NUMBER = /^[+-]?(\d+\.?\d*([eE][+-]?\d+)?|\.\d+([eE][+-]?\d+)?|nan|inf(inity)?)$/i;

function refuse(line) {
  throw new StreamingError("input", line);
}

function rounded(value) {
  if (Array.isArray(value)) return value.map(rounded);
  return typeof value === "number" ? (Number.isFinite(value) ? Math.round(value * 1e6) / 1e6 : null) : value;
}

function write(record) {
  process.stdout.write(`${JSON.stringify(record)}\n`);
}

/** Events as records, those of words with what they are of. */
function show(events, place, words = []) {
  for (const { event, quantiles, ...fields } of events) {
    const word = event === "prediction" && words.length ? { word: words.shift() } : {};
    const values = Object.entries(fields).map(([name, value]) => [name, rounded(value)]);
    write({ ...(place ?? { event }), ...word, ...Object.fromEntries(values) });
  }
}

function numbersOf(line) {
  return line.split(/[\s,;[\]]+/).filter(Boolean).map((cell) => {
    if (!NUMBER.test(cell)) refuse("a line holds no numbers; give a row a line");
    return /nan/i.test(cell) ? NaN : /inf/i.test(cell) ? (cell.startsWith("-") ? -Infinity : Infinity) : Number(cell);
  });
}

const lines = () => createInterface({ input: process.stdin, crlfDelay: Infinity });

async function sentences(session) {
  let line = 0;
  for await (const text of lines()) {
    const words = text.split(/[ \t\r\n]+/).filter(Boolean), left = [...words];
    line++;
    for (const word of words) show(await session.word(word), { line }, left);
    show(await session.finish(), { line }, left);
  }
}

async function texts(session, options) {
  let line = 0;
  for await (const text of lines()) {
    line++;
    if (text.trim()) show(await session.text(text, options), { line });
  }
}

async function rows(session) {
  let sequence = 0, isFed = false;
  for await (const line of lines()) {
    if (line.trim()) show(await session.row(numbersOf(line)), { sequence });
    else if (isFed) show(await session.finish(), { sequence: sequence++ });
    isFed = line.trim() !== "";
  }
  if (isFed) show(await session.finish(), { sequence });
}

async function arrays(session) {
  for await (const line of lines()) if (line.trim()) show(await session.array(numbersOf(line)), {});
}

async function sound(session, rate) {
  const samples = readWav(await buffer(process.stdin), rate);
  for (let at = 0; at < samples.length; at += 400) show(await session.samples(samples.subarray(at, at + 400)), null);
  show(await session.finish(), null);
}

function nested(values, shape) {
  if (!shape.length) return values[0];
  const size = values.length / (shape[0] || 1);
  return Array.from({ length: shape[0] }, (_, i) => nested(values.slice(i * size, (i + 1) * size), shape.slice(1)));
}

async function steps(model) {
  const stream = await streamOf(model), total = model.inputs.reduce((sum, info) => sum + info.elements, 0), counts = new Map();
  let sequence = 0, isFed = false;
  const give = (outputs) => {
    for (const [output, { data, count, shape }] of Object.entries(outputs)) {
      const size = data.length / (count || 1);
      for (let i = 0; i < count; i++) {
        const index = counts.get(output) ?? 0, value = nested(Array.from(data.slice(i * size, (i + 1) * size), Number), shape);
        counts.set(output, index + 1);
        write({ sequence, output, index, value: rounded(value) });
      }
    }
  };
  const strings = model.inputs.length === 1 && model.inputs[0].table !== null;
  const end = async () => {
    give(await stream.finish());
    await stream.reset();
    counts.clear();
    sequence++;
  };
  for await (const line of lines()) {
    if (!line.trim()) {
      if (isFed) await end();
      isFed = false;
      continue;
    }
    isFed = true;
    if (strings) {
      give(await stream.feed(line));
      continue;
    }
    const values = numbersOf(line);
    if (values.length !== total) refuse(`a line has ${values.length} numbers, expected the ${total} of a step`);
    let at = 0;
    give(await stream.feed(Object.fromEntries(model.inputs.map((info) => [info.name, values.slice(at, (at += info.elements))]))));
  }
  if (isFed) await end();
}

async function raw(model) {
  const stream = await streamOf(model), size = model.inputs.reduce((sum, info) => sum + info.bytes, 0), [out] = model.outputs;
  const give = ({ [out.name]: { data } }) => process.stdout.write(new Uint8Array(data.buffer, data.byteOffset, data.byteLength));
  let held = Buffer.alloc(0), isFed = false;
  for await (const piece of process.stdin) {
    held = Buffer.concat([held, piece]);
    for (; held.length >= size; held = held.subarray(size)) {
      let at = 0;
      const part = (info) => viewOf(info, Uint8Array.from(held.subarray(at, (at += info.bytes))));
      give(await stream.feed(Object.fromEntries(model.inputs.map((info) => [info.name, part(info)]))));
      isFed = true;
    }
  }
  if (held.length) refuse("the input ends in the middle of a step");
  if (isFed) give(await stream.finish());
}

function viewOf({ dtype }, { buffer: bytes }) {
  const kinds = { float32: Float32Array, float64: Float64Array, int64: BigInt64Array, int32: Int32Array, int16: Int16Array, int8: Int8Array };
  return new (kinds[dtype] ?? Uint8Array)(bytes);
}

async function streamOf(model) {
  if (model.sources.length) refuse("the model is given a whole input first; use its task");
  return model.createStream();
}

function parse(given) {
  const found = { mode: null, path: null, limit: undefined, drawing: {} };
  for (let i = 0; i < given.length; i++) {
    if ((given[i] === "--raw" || given[i] === "--steps") && !found.mode) found.mode = given[i];
    else if (given[i] === "--max-length" && /^[1-9]\d{0,5}$/.test(given[i + 1] ?? "")) found.limit = Number(given[++i]);
    else if (given[i] === "--temperature" && NUMBER.test(given[i + 1] ?? "")) found.drawing.temperature = Number(given[++i]);
    else if (given[i] === "--seed" && /^\d{1,10}$/.test(given[i + 1] ?? "")) found.drawing.seed = Number(given[++i]);
    else if (found.path === null && !given[i].startsWith("-")) found.path = given[i];
    else return null;
  }
  return found.path === null ? null : found;
}

async function main(given) {
  const found = parse(given);
  if (!found) refuse("expected: stream.mjs MODEL [--raw | --steps] [--max-length N] [--temperature X] [--seed N]");
  const content = await readFile(found.path).catch(() => {
    throw new StreamingError("file", `cannot read ${found.path}; give the path of a .tflite made by streaming.convert`);
  });
  const model = await open(content), { task } = model;
  if (found.mode === "--raw") return raw(model);
  if (found.mode === "--steps" || task === null) return steps(model);
  if (task !== "sketcher" && Object.keys(found.drawing).length) refuse("--temperature and --seed go with sketchers; leave them out");
  const session = await model.session({ ...found.drawing, maxLength: found.limit });
  if (model.sampleRate) return sound(session, model.sampleRate);
  if (task === "translator" || task === "generator") return texts(session, { maxLength: found.limit, temperature: 0 });
  if (task === "captioner") return arrays(session);
  return model.files.has("words.txt") ? sentences(session) : rows(session);
}

// Who reads may have had enough.
process.stdout.on("error", (error) => process.exit(error.code === "EPIPE" ? 0 : 1));

main(process.argv.slice(2)).catch((error) => {
  console.error(`stream: ${error instanceof StreamingError ? error.message : error.stack}`);
  process.exitCode = 2;
});
