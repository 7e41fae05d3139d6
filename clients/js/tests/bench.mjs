// bench.mjs MODEL [STEPS]: microseconds of a step, and of the same step by LiteRT.js alone, in turns; JSON.
// Alone: tensors by name, the state carried from run to run, the row read, and all tensors deleted by hand.

import { readFile } from "node:fs/promises";

import { Tensor, loadAndCompile } from "@litertjs/core";
import { open } from "../dist/node.js";

// Each is the least of many short rounds, which a busy machine does not interrupt.
const STEPS = 10;
const [path, rounds = "300"] = process.argv.slice(2);
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
  for (let i = 0; i < STEPS; i++) await call();
  return ((performance.now() - begin) * 1000) / STEPS;
}

const found = { step: Infinity, alone: Infinity };
for (let round = 0; round < Number(rounds); round++) {
  found.step = Math.min(found.step, await time(() => stream.step(x)));
  found.alone = Math.min(found.alone, await time(alone));
}
console.log(JSON.stringify(found));
