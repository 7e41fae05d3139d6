// memory.mjs MODEL: where the wasm memory cannot grow, opening, creating and running are errors with a code and one line, and the streams
// that there are go on with the same rows. After a trap within LiteRT nothing runs any more.

import { readFile } from "node:fs/promises";

import { StreamingError, open } from "../dist/node.js";
import { runtime } from "../dist/litert.js";

const problems = [];
const content = await readFile(process.argv[2]);
const model = await open(content), stream = await model.createStream();
const x = Object.fromEntries(model.inputs.map((info) => [info.name, new Array(info.elements * model.chunk).fill(1)]));

async function rows() {
  await stream.reset();
  await stream.step(x);
  return Array.from((await stream.step(x))[model.outputs[0].name].data).join();
}

async function refused(code, what, call) {
  for (let i = 0; i < 100000; i++) {
    try {
      await call(i);
    } catch (error) {
      if (error instanceof StreamingError && error.code === code && error.message && !error.message.includes("\n")) return;
      problems.push(`${what}: ${error instanceof StreamingError ? error.code : error.stack}, expected ${code}: ${error.message}`);
      return;
    }
  }
  problems.push(`${what}: nothing was refused, expected ${code}`);
}

const expected = await rows(), { grow } = WebAssembly.Memory.prototype, kept = [];
async function goesOn(what) {
  try {
    if ((await rows()) !== expected) problems.push(`${what}: other rows`);
  } catch (error) {
    problems.push(`${what}: ${error.message}`);
  }
}

WebAssembly.Memory.prototype.grow = () => {
  throw new RangeError("WebAssembly.Memory.grow(): Maximum memory size exceeded");
};
await refused("memory", "files", async () => kept.push(await open(content)));
await goesOn("after opening");
while (kept.length) kept.pop().close();
await refused("memory", "streams", async () => {
  kept.push(await model.createStream());
  await kept.at(-1).step(x);
});
await refused("memory", "a blob", async () => kept.push(await model.restore(await kept[0].save())));
for (let left = Math.floor(kept.length / 2); kept.length > left; ) kept.pop().close();
await goesOn("after half of them are closed");
while (kept.length) kept.pop().close();
WebAssembly.Memory.prototype.grow = grow;
await goesOn("with memory again");
(await open(content)).close();

const saved = await stream.save(), wasm = (await runtime()).liteRtWasm;
wasm.compileModel = () => {
  throw new WebAssembly.RuntimeError("unreachable");
};
await refused("runtime", "a trap", () => open(content));
await refused("runtime", "a step after a trap", () => stream.step(x));
await refused("runtime", "a file after a trap", () => open(content));
await refused("runtime", "a stream after a trap", () => model.restore(saved));
stream.close();
model.close();
console.log(JSON.stringify(problems));
