// blobs.mjs MODEL IN OUT: goes on from a saved stream with the steps of standard input, saves it, and writes the rows.

import { readFile, writeFile } from "node:fs/promises";
import { buffer } from "node:stream/consumers";

import { open } from "../dist/node.js";

const [path, from, to] = process.argv.slice(2);
const model = await open(await readFile(path)), stream = await model.restore(await readFile(from));
const { data } = (await stream.feed(new Float32Array(Uint8Array.from(await buffer(process.stdin)).buffer)))[model.outputs[0].name];
await writeFile(to, await stream.save());
process.stdout.write(new Uint8Array(data.buffer));
