/** Node: where LiteRT's wasm files are, and what its loader for browsers misses here. */

import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";

import { quietly, setHost } from "./litert.js";

const COMPAT = "litert_wasm_compat_internal.wasm";

setHost(async (options) => {
  const require = createRequire(import.meta.url);
  const folder = options.wasm ?? join(dirname(require.resolve("@litertjs/core/package.json")), "wasm");
  const scope = globalThis as unknown as Record<string, unknown>;
  const shims: Record<string, unknown> = {
    self: globalThis,
    require,
    __dirname: folder,
    importScripts: (file: string) => (0, eval)(readFileSync(file, "utf8")),
    Module: { wasmBinary: readFileSync(join(folder, COMPAT)), print: quietly, printErr: quietly },
  };
  const before = Object.keys(shims).map((name) => [name, Object.getOwnPropertyDescriptor(scope, name)] as const);
  for (const [name, value] of Object.entries(shims)) Object.defineProperty(scope, name, { value, configurable: true, writable: true });
  // It looks for a GPU, and says that there is none.
  const { warn } = console;
  console.warn = () => {};
  const done = () => {
    console.warn = warn;
    for (const [name, found] of before) {
      if (found) Object.defineProperty(scope, name, found);
      else delete scope[name];
    }
  };
  return { wasm: join(folder, "litert_wasm_compat_internal.js"), done };
});

export * from "./index.js";
