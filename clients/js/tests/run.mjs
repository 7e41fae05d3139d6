// run.mjs MODEL VECTORS [MODEL VECTORS ...]: a line of JSON for each pair, with what is wrong.

import { readFile } from "node:fs/promises";

import * as library from "../dist/node.js";
import { check } from "./vectors.mjs";

const pairs = process.argv.slice(2);
for (let i = 0; i < pairs.length; i += 2) {
  const model = await library.open(await readFile(pairs[i]));
  const vectors = JSON.parse(await readFile(pairs[i + 1], "utf8"));
  console.log(JSON.stringify(await check(model, vectors, library)));
  model.close();
}
