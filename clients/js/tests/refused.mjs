// refused.mjs FILE...: for each file the code and the line with which opening it ends, as lines of JSON.

import { readFile } from "node:fs/promises";

import { open } from "../dist/node.js";

for (const path of process.argv.slice(2)) {
  let found = ["", ""];
  try {
    (await open(await readFile(path))).close();
  } catch ({ code, message }) {
    found = [code, message];
  }
  console.log(JSON.stringify(found));
}
