// bench.mjs MODEL [STEPS]: microseconds of a step, and of the same step by LiteRT.js alone, in turns; JSON.
// Alone: tensors by name, the state carried from run to run, the row read, and all tensors deleted by hand.

import { readFile } from "node:fs/promises";

import { Tensor, loadAndCompile } from "@litertjs/core";
import { open } from "../dist/node.js";

const ROUNDS = 7;
const [path, count = "500"] = process.argv.slice(2), steps = Number(count);
const content = await readFile(path), model = await open(content), stream = await model.createStream();
const compiled = await loadAndCompile(new Uint8Array(content), { accelerator: "wasm" }), signature = compiled.signatures.step;
const [input] = model.inputs, [output] = model.outputs, x = new Float32Array(input.elements);
const states = Object.fromEntries(
  signature.getInputDetails().filter(({ name }) => name !== input.name).map(({ name, shape }) => [name, new Tensor(new Float32Array(shape.reduce((a, b) => a * b, 1)), shape)]),
);

async function alone() {
  const given = new Tensor(x, [1, 1, ...input.shape]), found = await signature.run({ [input.name]: given, ...states });
  given.delete();
  for (const name of Object.keys(states)) {
    states[name].delete();
    states[name] = found[name];
  }
  const row = await found[output.name].data();
  found[output.name].delete();
  return row;
}

async function time(call) {
  const begin = performance.now();
  for (let i = 0; i < steps; i++) await call();
  return ((performance.now() - begin) * 1000) / steps;
}

const found = { step: [], alone: [] };
for (let round = 0; round <= ROUNDS; round++) {
  const times = { step: await time(() => stream.step(x)), alone: await time(alone) };
  if (round) for (const [name, value] of Object.entries(times)) found[name].push(value);
}
console.log(JSON.stringify(Object.fromEntries(Object.entries(found).map(([name, times]) => [name, times.sort((a, b) => a - b)[ROUNDS >> 1]]))));
