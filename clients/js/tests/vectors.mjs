// Holds the client against test vectors (docs/format.md), in Node and in browsers: steps in pieces, saved and restored, arrays, events.

const ARRAYS = {
  float32: Float32Array, float64: Float64Array, int64: BigInt64Array, int32: Int32Array, int16: Int16Array, int8: Int8Array, uint8: Uint8Array, bool: Uint8Array,
};

/** The values of an array of vectors, one after the other. */
export function arrayOf(item) {
  if ("base64" in item) {
    const bytes = Uint8Array.from(atob(item.base64), (c) => c.charCodeAt(0));
    return new ARRAYS[item.dtype](bytes.buffer);
  }
  const count = item.shape.reduce((a, b) => a * b, 1), isReal = item.dtype.startsWith("float");
  let x = item.seed;
  return Array.from({ length: count }, () => {
    x = (Math.imul(1664525, x) + 1013904223) >>> 0;
    const drawn = x >>> 8;
    return isReal ? Math.fround(drawn / 2 ** 23 - 1) : item.low + (drawn % (item.high - item.low));
  });
}

function close(found, expected, tolerance) {
  return Math.abs(found - expected) <= tolerance;
}

/** Where a value is another than expected, as lines; numbers may differ a little. */
function differences(found, expected, where) {
  if (typeof expected === "number" && typeof found === "number") {
    return close(found, expected, 2e-5 + 1e-4 * Math.abs(expected)) ? [] : [`${where} is ${found}, expected ${expected}`];
  }
  if (typeof expected !== "object" || expected === null || typeof found !== "object" || found === null) {
    return found === expected ? [] : [`${where} is ${JSON.stringify(found)}, expected ${JSON.stringify(expected)}`];
  }
  const keys = new Set([...Object.keys(found), ...Object.keys(expected)]);
  return [...keys].flatMap((key) => differences(found[key], expected[key], `${where}.${key}`));
}

async function checkSteps(model, vectors, isSaved) {
  const { steps, tolerance } = vectors, { window } = model;
  let stream = await model.createStream();
  if (steps.encode) await stream.encode(Object.fromEntries(Object.entries(steps.encode).map(([name, item]) => [name, arrayOf(item)])));
  const arrays = Object.fromEntries(model.inputs.map((info) => [info.name, arrayOf(steps.inputs[info.name])]));
  const rows = Object.fromEntries(model.outputs.map((out) => [out.name, []]));
  const keep = (outputs) => {
    for (const [name, { data }] of Object.entries(outputs)) for (const value of data) rows[name].push(Number(value));
  };
  let begin = 0;
  for (const end of steps.cuts) {
    const part = ({ name, time, elements }) => (time ? arrays[name].slice(begin * elements, end * elements) : arrays[name]);
    keep(await stream.feed(Object.fromEntries(model.inputs.map((info) => [info.name, part(info)]))));
    begin = end;
    if (isSaved) {
      const saved = await stream.save();
      stream.close();
      stream = await model.restore(saved);
    }
  }
  if (stream.position !== begin) return [`position is ${stream.position}, expected ${begin}`];
  keep(await stream.finish());
  stream.close();
  return model.outputs.flatMap(({ name }) => {
    const { shape, stride, ...item } = steps.outputs[name], expected = Array.from(arrayOf(item), Number), found = rows[name];
    const total = shape.reduce((a, b) => a * b, 1);
    if (found.length !== total) return [`output ${name} has ${found.length} values, expected ${total}`];
    const scale = Math.max(1, ...expected.map(Math.abs));
    const worst = Math.max(0, ...expected.map((value, i) => Math.abs(value - found[i * stride])));
    return close(worst, 0, tolerance * scale) ? [] : [`output ${name} differs by ${worst} (values up to ${scale}, window ${window})`];
  });
}

/** The ids of strings, for inputs that take those; and that a stream takes the strings themselves. */
async function checkStrings(model, strings) {
  const found = [];
  for (const [name, { texts, ids }] of Object.entries(strings)) {
    const { table, elements } = model.inputs.find((info) => info.name === name);
    found.push(...differences(table.ids(texts, name), ids, `strings of ${name}`));
    if (model.inputs.length > 1) continue;
    const streams = [await model.createStream(), await model.createStream()];
    const [first, second] = await Promise.all(streams.map((stream, i) => stream.feed(i ? texts : ids)));
    const [{ data }, { data: other }] = [first, second].map((rows) => rows[model.outputs[0].name]);
    if (ids.length % elements || data.length !== other.length || data.some((value, i) => value !== other[i])) found.push(`strings of ${name} give other rows than their ids`);
    streams.forEach((stream) => stream.close());
  }
  return found;
}

/** The options of a session for the input of a task. */
function optionsOf(task) {
  return task.kind === "sketcher" ? { temperature: 0, maxLength: task.input.max_length } : {};
}

/** The events of the input of a task. */
export async function eventsOf(session, given) {
  const found = [];
  if (given.words) for (const word of given.words) found.push(...(await session.word(word)));
  else if (given.rows) for (const row of given.rows) found.push(...(await session.row(row.map((value) => value ?? NaN))));
  else if (given.samples) found.push(...(await session.samples(Float32Array.from(arrayOf(given.samples), (value) => value / 128))));
  else if (given.array) found.push(...(await session.array(arrayOf(given.array))));
  else found.push(...(await session.text(given.text, given.max_length ? { maxLength: given.max_length, temperature: 0 } : {})));
  return [...found, ...(await session.finish())];
}

function checkArrays(model, task, { WordEncoder, Codec }) {
  const { arrays, input } = task;
  if (!arrays) return [];
  if (arrays.ids) {
    const name = model.files.has("source.json") ? "source.json" : "target.json";
    return differences(new Codec(model.files.get(name), name).encode(input.text), arrays.ids, "ids");
  }
  const encoder = new WordEncoder(model.files);
  return Object.entries(arrays).flatMap(([name, expected]) => {
    const found = input.words.map((word) => (name === "words" ? encoder.encode(word, name)[0] : [...encoder.encode(word, name)]));
    return differences(found, expected, name);
  });
}

async function checkTask(model, task, library) {
  const heard = [], session = await model.session({ ...optionsOf(task), on: (event) => heard.push(event) });
  const found = await eventsOf(session, task.input);
  session.close();
  const all = checkArrays(model, task, library);
  if (heard.length !== found.length) all.push("the listener heard other events");
  if (found.length !== task.events.length) all.push(`${found.length} events, expected ${task.events.length}`);
  return [...all, ...found.flatMap((event, i) => differences(event, task.events[i] ?? {}, `event ${i}`))];
}

/** All that is wrong, as lines. */
export async function check(model, vectors, library) {
  if (model.fingerprint !== vectors.fingerprint) return ["the vectors are of another model"];
  const found = await checkSteps(model, vectors, false);
  found.push(...(await checkSteps(model, vectors, false)).map((line) => `another stream: ${line}`));
  try {
    found.push(...(await checkSteps(model, vectors, true)).map((line) => `saved and restored: ${line}`));
  } catch (error) {
    // A model with internal state cannot be saved, and says so.
    if (!/inside the interpreter/.test(error.message)) throw error;
  }
  found.push(...(await checkStrings(model, vectors.steps.strings ?? {})));
  if (vectors.task) found.push(...(await checkTask(model, vectors.task, library)));
  return found.slice(0, 5);
}
