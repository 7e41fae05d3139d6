/** LiteRT.js: starting it, and graphs in it, by tensors of any type. Its own `run` takes float32, int32 and uint8 alone. */

import type { LiteRt } from "@litertjs/core";

import { KINDS } from "./dtypes.js";
import { StreamingError, fail, lineOf } from "./errors.js";

type Wasm = LiteRt["liteRtWasm"];
export type TensorBuffer = ReturnType<Wasm["LiteRtTensorBuffer"]["createManaged"]>;
type LiteRtModel = ReturnType<Wasm["loadModel"]>;
type CompiledModel = Awaited<ReturnType<Wasm["compileModel"]>>;

export interface RuntimeOptions {
  /** The folder of LiteRT's wasm files, `node_modules/@litertjs/core/wasm/`, as this page or worker reaches it. */
  wasm?: string;
  /** The address of LiteRT.js itself where nothing resolves `@litertjs/core`. */
  litert?: string;
}

/** Prepares the global scope for LiteRT's loader and gives what undoes it, and the folder of the wasm files. */
export type Host = (options: RuntimeOptions) => Promise<{ wasm: string; done: () => void }>;

let loading: Promise<LiteRt> | undefined;
let host: Host = browser;

/** How LiteRT starts elsewhere than in browsers: node.ts says how in Node. */
export function setHost(found: Host): void {
  host = found;
}

/** LiteRT, started when it is first asked for; later options are not looked at. */
export function runtime(options: RuntimeOptions = {}): Promise<LiteRt> {
  loading ??= start(options).catch((error: unknown) => {
    loading = undefined;
    if (error instanceof StreamingError) throw error;
    return fail("runtime", `LiteRT could not start: ${lineOf(error)}; give its wasm folder, and serve it`);
  });
  return loading;
}

async function start(options: RuntimeOptions): Promise<LiteRt> {
  const core: typeof import("@litertjs/core") = options.litert
    ? await import(/* @vite-ignore */ /* webpackIgnore: true */ options.litert)
    : await import("@litertjs/core");
  const running = core.getGlobalLiteRtPromise();
  if (running) return running;
  const { wasm, done } = await host(options);
  try {
    return await core.loadLiteRt(wasm);
  } finally {
    done();
  }
}

/** Only errors of LiteRT's log. */
export function quietly(line: string): void {
  if (/^(ERROR|FATAL)/.test(line)) console.error(line);
}

/* The loader is a classic script that finds its wasm beside the page. In a worker it has to be told the folder, and module
   workers refuse `importScripts`: there the script is fetched and run. */
async function browser(options: RuntimeOptions): Promise<{ wasm: string; done: () => void }> {
  if (!options.wasm) fail("argument", "the folder of LiteRT's wasm files is not known; give open(..., { wasm: \".../@litertjs/core/wasm/\" })");
  const scope = globalThis as unknown as Record<string, unknown>;
  const wasm = new URL(options.wasm.replace(/\/?$/, "/"), globalThis.location?.href).href;
  scope.Module = { locateFile: (file: string) => wasm + file, print: quietly, printErr: quietly };
  const native = scope.importScripts as (() => void) | undefined;
  try {
    native?.();
  } catch {
    scope.importScripts = (url: string) => {
      const request = new XMLHttpRequest();
      request.open("GET", url, false);
      request.send();
      if (request.status !== 200) throw new Error(`${url} answers ${request.status}`);
      (0, eval)(request.responseText);
    };
    return { wasm, done: () => { scope.importScripts = native; } };
  }
  return { wasm, done: () => {} };
}

/* LiteRT does not survive every allocation that fails: it may then have written over its own memory. So room is asked for
   before each call, and after a call that failed without room, or with a trap, nothing runs any more. */
const ROOM = 1 << 16;
// What preparing takes, measured on files whose weights are unpacked from float16, with the file itself.
const UNPACKED = 5;
let ended = "";

function checkRunning(): void {
  if (ended) fail("runtime", ended);
}

function hasRoom(lib: LiteRt, bytes: number): boolean {
  const memory = lib.liteRtWasm._malloc(bytes);
  lib.liteRtWasm._free(memory);
  return memory !== 0;
}

function checkRoom(lib: LiteRt, bytes: number, what: string): void {
  checkRunning();
  if (!hasRoom(lib, bytes)) fail("memory", `there is no memory for ${what}; close models and streams that are not needed`);
}

/** Raises the StreamingError of a call of LiteRT that failed. */
function failed(lib: LiteRt, error: unknown, what: string, remedy: string): never {
  if (error instanceof StreamingError) throw error;
  const isTrap = error instanceof WebAssembly.RuntimeError, isFull = !hasRoom(lib, ROOM);
  if (isTrap || isFull) ended = "LiteRT has ended, because a call failed within it; load the page, or start the worker or the process, again";
  if (isFull) fail("memory", `${what}: there is no memory; load the page, or start the worker or the process, again`);
  return fail("runtime", `${what}: ${lineOf(error)}; ${isTrap ? "load the page, or start the worker or the process, again" : remedy}`);
}

/** Frees what LiteRT has made; nothing where it has ended. */
export function free(object: { delete(): void } | null | undefined): void {
  if (!ended) object?.delete();
}

/** A tensor of a signature as the graph has it. */
export interface GraphTensor {
  readonly name: string;
  readonly element: number;
  readonly dims: readonly number[];
  readonly elements: number;
  readonly bytes: number;
}

export interface GraphSignature {
  readonly index: number;
  readonly inputs: readonly GraphTensor[];
  readonly outputs: readonly GraphTensor[];
  readonly outputBytes: number;
}

const BYTES = new Map(Object.values(KINDS).map((kind) => [kind.element, kind.bytes]));

interface Vector<T> {
  size(): number;
  get(index: number): T;
  delete(): void;
}

function items<T>(vector: Vector<T>): T[] {
  const found = Array.from({ length: vector.size() }, (_, i) => vector.get(i));
  vector.delete();
  return found;
}

/** A compiled model and its signatures. All calls are synchronous. */
export class Graph {
  readonly signatures = new Map<string, GraphSignature>();
  /** Whether the interpreter has run, so that states inside of it are no longer the first. */
  used = false;

  private constructor(
    private readonly lib: LiteRt,
    private readonly model: LiteRtModel,
    private readonly memory: number,
    private readonly size: number,
    private compiled: CompiledModel,
  ) {}

  /** Raises StreamingError where LiteRT cannot read or prepare the model. */
  static async compile(lib: LiteRt, content: Uint8Array): Promise<Graph> {
    checkRoom(lib, UNPACKED * content.length + ROOM, `a model of ${content.length} bytes`);
    const wasm = lib.liteRtWasm, memory = wasm._malloc(content.length);
    let model: LiteRtModel | undefined;
    try {
      wasm.HEAPU8.set(content, memory);
      model = wasm.loadModel(lib.getDefaultEnvironment().liteRtEnvironment, memory, content.length);
      const graph = new Graph(lib, model, memory, content.length, await compiled(lib, model));
      graph.describe();
      return graph;
    } catch (error) {
      try {
        return failed(lib, error, "LiteRT could not prepare the model", "take a newer one, or convert the model again");
      } finally {
        free(model);
        if (!ended) wasm._free(memory);
      }
    }
  }

  private describe(): void {
    for (let index = 0; index < this.model.getNumSignatures(); index++) {
      const signature = this.model.getSignature(index);
      const inputs = items(signature.inputNames()).map((name, i) => described(name, this.model.getInputTensorType(index, i)));
      const outputs = items(signature.outputNames()).map((name, i) => described(name, this.model.getOutputTensorType(index, i)));
      const outputBytes = outputs.reduce((sum, tensor) => sum + tensor.bytes, 0);
      this.signatures.set(signature.key(), { index, inputs, outputs, outputBytes });
      signature.delete();
    }
  }

  /** A buffer of zeros for a tensor, which the caller deletes. */
  buffer(tensor: GraphTensor): TensorBuffer {
    checkRoom(this.lib, tensor.bytes + ROOM, `a tensor of ${tensor.bytes} bytes`);
    const wasm = this.lib.liteRtWasm, dims = new wasm.VectorInt32();
    tensor.dims.forEach((size) => dims.push_back(size));
    const layout = wasm.LiteRtLayout.create(dims);
    const type = wasm.LiteRtRankedTensorType.create({ value: tensor.element as 1 }, layout);
    const kind = wasm.LiteRtTensorBufferType.HOST_MEMORY;
    try {
      const found = wasm.LiteRtTensorBuffer.createManaged(this.lib.getDefaultEnvironment().liteRtEnvironment, kind, type, tensor.bytes);
      this.write(found, 0, new Uint8Array(tensor.bytes));
      return found;
    } catch (error) {
      return failed(this.lib, error, "LiteRT could not make a tensor", "open the file again");
    } finally {
      [dims, layout, type].forEach(free);
    }
  }

  write(buffer: TensorBuffer, place: number, bytes: Uint8Array): void {
    checkRunning();
    const wasm = this.lib.liteRtWasm, memory = buffer.lock(wasm.LiteRtTensorBufferLockMode.WRITE);
    wasm.HEAPU8.set(bytes, memory + place);
    buffer.unlock();
  }

  /** A copy of some bytes of a buffer. */
  read(buffer: TensorBuffer, begin: number, end: number): Uint8Array {
    checkRunning();
    const wasm = this.lib.liteRtWasm, memory = buffer.lock(wasm.LiteRtTensorBufferLockMode.READ);
    const found = wasm.HEAPU8.slice(memory + begin, memory + end);
    buffer.unlock();
    return found;
  }

  /** One invoke: new buffers, in the order of the signature's outputs, which the caller deletes. */
  run(signature: GraphSignature, inputs: TensorBuffer[]): TensorBuffer[] {
    let found: TensorBuffer[] | Promise<TensorBuffer[]>;
    checkRoom(this.lib, signature.outputBytes + ROOM, "the outputs of a step");
    this.used = true;
    try {
      found = this.compiled.run(signature.index, inputs);
    } catch (error) {
      return failed(this.lib, error, "LiteRT could not run the model", "reset the stream, or open the file again");
    }
    return found instanceof Promise ? fail("runtime", "LiteRT.js was loaded with jspi, which makes an invoke wait; load it without") : found;
  }

  /** Another interpreter: internal state begins anew. */
  restart(): void {
    checkRoom(this.lib, UNPACKED * this.size + ROOM, `a model of ${this.size} bytes`);
    let next: CompiledModel | Promise<CompiledModel>;
    try {
      next = compiled(this.lib, this.model);
    } catch (error) {
      return failed(this.lib, error, "LiteRT could not prepare the model", "open the file again");
    }
    if (next instanceof Promise) fail("runtime", "LiteRT.js was loaded with jspi, which makes a reset wait; load it without");
    this.compiled.delete();
    this.compiled = next;
    this.used = false;
  }

  delete(): void {
    free(this.compiled);
    free(this.model);
    if (!ended) this.lib.liteRtWasm._free(this.memory);
  }
}

function compiled(lib: LiteRt, model: LiteRtModel): CompiledModel | Promise<CompiledModel> {
  const environment = lib.getDefaultEnvironment();
  const options = { environment, accelerator: "wasm" as const, cpuOptions: { numThreads: 1 }, gpuOptions: {}, webNNOptions: {} };
  return lib.liteRtWasm.compileModel(environment.liteRtEnvironment, model, options);
}

function described(name: string, type: ReturnType<LiteRtModel["getInputTensorType"]>): GraphTensor {
  const layout = type.layout(), element = type.elementType().value as number;
  const dims = items(layout.dimensions()), size = BYTES.get(element);
  layout.delete();
  type.delete();
  if (size === undefined) throw new Error(`tensor ${name} has the element type ${element}`);
  const elements = dims.reduce((product, dim) => product * dim, 1);
  return { name, element, dims, elements, bytes: elements * size };
}
