// misuse.mjs MODEL OTHER TASKLESS: what callers get wrong is an error with a code and one line. MODEL is a tagger, OTHER another model.

import { readFile } from "node:fs/promises";

import { StreamingError, open } from "../dist/node.js";

const problems = [];

async function refused(code, what, call) {
  try {
    await call();
  } catch (error) {
    if (error instanceof StreamingError && error.code === code && error.message && !error.message.includes("\n")) return;
    problems.push(`${what}: ${error instanceof StreamingError ? error.code : error.stack}, expected ${code}: ${error.message}`);
    return;
  }
  problems.push(`${what}: nothing was refused, expected ${code}`);
}

function holds(what, isTrue) {
  if (!isTrue) problems.push(what);
}

const same = (a, b) => a.length === b.length && a.every((value, i) => Object.is(value, b[i]));

async function files(content) {
  await refused("file", "no bytes", () => open(new Uint8Array(0)));
  await refused("file", "an address that is none", () => open("http://127.0.0.1:9/model.tflite"));
  await refused("argument", "a number", () => open(3));
  for (const cut of [1, 64, 90, 200, content.length - 100]) await refused("file", `${cut} bytes less`, () => open(content.subarray(0, content.length - cut)));
  for (let at = 9; at < content.length; at += 1 + Math.floor(content.length / 23)) {
    const damaged = content.slice();
    damaged[at] ^= 16;
    await refused("file", `byte ${at} is another`, () => open(damaged));
  }
}

async function streams(model, foreign) {
  const stream = await model.createStream(), [info] = model.inputs, steps = 5;
  const x = Array.from({ length: steps * info.elements }, (_, i) => Math.sin(i));
  await refused("input", "a value too many", () => stream.feed([...x, 1]));
  await refused("input", "a text", () => stream.feed("x"));
  await refused("input", "nothing", () => stream.feed(null));
  await refused("input", "another name", () => stream.feed({ nobody: x }));
  await refused("input", "a text among numbers", () => stream.feed(["a"]));
  await refused("input", "too few steps", () => stream.step(x.slice(0, info.elements)));
  await refused("state", "a source for a model without", () => stream.encode(x));
  for (const wrong of [NaN, Infinity]) await refused("input", String(wrong), () => stream.feed(x.map((value, i) => (i === 3 ? wrong : value))));
  holds("a refused call changes nothing", stream.position === 0);
  stream.allowNaN = true;
  await stream.feed(x.map(() => NaN));
  await stream.reset();
  stream.allowNaN = false;
  const first = (await stream.feed(x))[model.outputs[0].name].data, saved = await stream.save();
  const whole = (await stream.finish())[model.outputs[0].name].data;
  await refused("state", "a step after finish", () => stream.feed(x));
  await refused("state", "finish twice", () => stream.finish());
  await refused("blob", "a saved stream of another model", () => foreign.restore(saved));
  await refused("argument", "a saved stream that is a text", () => model.restore("x"));
  for (let cut = 0; cut < saved.length; cut += 1 + Math.floor(saved.length / 29)) await refused("blob", `${cut} bytes`, () => model.restore(saved.subarray(0, cut)));
  for (let at = 10; at < saved.length; at += 1 + Math.floor(saved.length / 53)) {
    const damaged = saved.slice();
    damaged[at] ^= 16;
    await refused("blob", `saved byte ${at} is another`, () => model.restore(damaged));
  }
  const newer = saved.slice();
  newer[4] = 2;
  await refused("version", "a newer format", () => model.restore(newer));
  const back = await model.restore(saved), fork = await back.fork();
  holds("position", back.position === steps);
  holds("restored", same((await back.finish())[model.outputs[0].name].data, whole));
  holds("forked", same((await fork.finish())[model.outputs[0].name].data, whole));
  await stream.reset();
  holds("reset", same((await stream.feed(x))[model.outputs[0].name].data, first));
  stream.close();
  stream.close();
  await refused("state", "a stream that is closed", () => stream.feed(x));
}

async function sessions(tagger, taskless) {
  await refused("task", "no task", () => taskless.session());
  const session = await tagger.session();
  await refused("state", "a row of words", () => session.row([1]));
  await refused("state", "words that are sound", () => session.samples([1]));
  await refused("argument", "a word that is a number", () => session.word(1));
  await refused("input", "an empty word", () => session.word(""));
  holds("the end of nothing", (await session.finish()).length === 0);
  session.close();
  await refused("state", "a session that is closed", () => session.word("a"));
  const stream = await tagger.createStream(), [info] = tagger.inputs;
  await refused("input", "one input of three", () => stream.feed({ [info.name]: new Int32Array(info.elements) }));
  const given = Object.fromEntries(tagger.inputs.map((item) => [item.name, new Array(item.elements).fill(0)]));
  await refused("input", "an id out of range", () => stream.feed({ ...given, [info.name]: new Array(info.elements).fill(2 ** 30) }));
  await refused("input", "half an id", () => stream.feed({ ...given, [info.name]: new Array(info.elements).fill(0.5) }));
  await refused("input", "steps of different numbers", () => stream.feed({ ...given, [info.name]: new Array(2 * info.elements).fill(0) }));
}

const [tagger, taskless, translator] = await Promise.all(process.argv.slice(2).map(async (path) => open(await readFile(path))));
await files(new Uint8Array(await readFile(process.argv[3])));
await streams(taskless, tagger);
await sessions(tagger, taskless);
const stream = await translator.createStream();
await refused("state", "a step before encode", () => stream.step(2));
await refused("input", "a source that is too long", () => stream.encode(new Array(10000).fill(1)));
await stream.encode([5, 6, 7]);
await refused("state", "a second source", () => stream.encode([5]));
taskless.close();
taskless.close();
await refused("state", "a model that is closed", () => taskless.createStream());
console.log(JSON.stringify(problems));
