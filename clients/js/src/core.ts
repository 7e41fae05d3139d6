/** A file that is open: its metadata, its graph, and which tensor of a signature is which. */

import { KINDS, type DType } from "./dtypes.js";
import { fail, shown } from "./errors.js";
import { free, type Graph, type GraphSignature, type GraphTensor, type TensorBuffer } from "./litert.js";
import { wrong, type Metadata } from "./metadata.js";

/** What a tensor of a signature is: the role, and which one of the metadata. */
export interface Place {
  readonly role: "input" | "valid" | "source" | "mask" | "state" | "output" | "mark" | "other";
  readonly index: number;
  readonly tensor: GraphTensor;
}

/** A signature with a buffer for each input that is no state. */
export interface Plan {
  readonly signature: GraphSignature;
  readonly chunk: number;
  readonly inputs: readonly Place[];
  readonly outputs: readonly Place[];
  readonly buffers: readonly (TensorBuffer | null)[];
}

/** A state that streams share: it is never written to, and freed with the last of them. */
export class State {
  private count = 1;

  constructor(readonly buffer: TensorBuffer) {}

  retain(): this {
    this.count++;
    return this;
  }

  release(): void {
    if (--this.count === 0) free(this.buffer);
  }
}

/** What streams, sessions and their model have in common. */
export class Core {
  readonly plans: ReadonlyMap<string, Plan>;
  readonly initial: readonly State[];
  /** Streams that are open. */
  streams = 0;
  private open = true;

  constructor(
    readonly metadata: Metadata,
    readonly files: ReadonlyMap<string, Uint8Array>,
    readonly graph: Graph,
  ) {
    this.plans = plans(metadata, graph);
    this.initial = initialStates(metadata, graph, this.plans.get("step")!);
  }

  /** The kind of task; null: none. */
  get task(): string | null {
    return typeof this.metadata.task?.kind === "string" ? this.metadata.task.kind : null;
  }

  /** A state of a pack; `bytes` null: zeros. */
  state(pack: number, bytes: Uint8Array | null): State {
    return stateOf(this.graph, this.plans.get("step")!, pack, bytes);
  }

  checkOpen(): void {
    if (!this.open) fail("state", "the model is closed; open the file again");
  }

  close(): void {
    if (!this.open) return;
    this.open = false;
    for (const plan of this.plans.values()) plan.buffers.forEach(free);
    for (const state of this.initial) state.release();
    this.graph.delete();
  }
}

/** The entries of a file with one a line. */
export function lines(data: Uint8Array): string[] {
  const found = new TextDecoder().decode(data).split("\n");
  if (found.at(-1) === "") found.pop();
  return found;
}

function disagree(signature: string, name: string): never {
  return fail("file", `signature ${shown(signature)}: tensor ${shown(name)} is another than streaming.json says; convert the model again`);
}

function plans(meta: Metadata, graph: Graph): Map<string, Plan> {
  const found = new Map<string, Plan>();
  if (graph.signatures.size !== meta.signatures.size) wrong("signatures");
  for (const [key, signature] of graph.signatures) {
    const info = meta.signatures.get(key) ?? wrong("signatures");
    const special = key === "fill" || key === "encode" || key === "reset";
    // Batches, and chunks that are not the fast one, are not used here.
    const role = special || key === "step" ? key : info.batch === 1 && info.chunk === meta.chunk ? "chunk" : null;
    if (role === null) continue;
    const place = (inward: boolean) => (tensor: GraphTensor): Place => ({ ...placeOf(meta, key, info.chunk, tensor, inward), tensor });
    const inputs = signature.inputs.map(place(true)), outputs = signature.outputs.map(place(false));
    checkComplete(meta, key, inputs, outputs);
    const buffers = inputs.map(({ role, tensor }) => (role === "state" ? null : graph.buffer(tensor)));
    found.set(role, { signature, chunk: info.chunk, inputs, outputs, buffers });
  }
  const step = found.get("step");
  if (step?.chunk !== meta.unit || (meta.chunk !== meta.unit && !found.has("chunk")) || found.has("encode") !== (meta.encode !== null)) wrong("signatures");
  if (found.has("fill") && (found.get("fill")!.chunk !== meta.unit || meta.window === null || meta.pad)) wrong("signature fill");
  return found;
}

function placeOf(meta: Metadata, key: string, chunk: number, tensor: GraphTensor, inward: boolean): { role: Place["role"]; index: number } {
  const is = (dtype: DType, elements: number) => tensor.element === KINDS[dtype].element && tensor.elements === elements;
  const found = (role: Place["role"], index: number, fits: boolean) => (fits ? { role, index } : disagree(key, tensor.name));
  const { name } = tensor, encodes = key === "encode", named = (item: { name: string }) => item.name === name;
  const at = <T>(items: readonly T[], holds: (item: T) => boolean) => ({ index: items.findIndex(holds), item: items.find(holds) });
  if (key !== "reset" && inward) {
    const infos = encodes ? meta.encode?.inputs ?? [] : meta.inputs;
    const { index, item } = at(infos, named);
    const steps = encodes ? meta.encode!.maxLength : chunk;
    if (item) return found(encodes ? "source" : "input", index, is(item.dtype, item.elements * (item.time ? steps : 1)));
    const source = at(infos, (info) => meta.encode?.valid.get(info.name) === name);
    if (encodes && source.item) return found("mask", source.index, is(meta.flags, steps));
    if (!encodes && name === meta.valid) return found("valid", 0, is(meta.flags, chunk));
  }
  if (key !== "reset" && !inward && !encodes && key !== "fill") {
    for (const [index, out] of meta.outputs.entries()) {
      const rows = (chunk * out.up) / out.down;
      if (name === out.name) return found("output", index, is(out.dtype, rows * out.elements));
      if (name === out.valid) return found("mark", index, is(meta.flags, rows));
    }
  }
  if (key !== "reset") {
    const own = (pack: Metadata["packs"][number]) =>
      encodes ? !inward && pack.output === "" && pack.input === name : name === (inward ? pack.input : pack.output) && name !== "";
    const { index, item } = at(meta.packs, own);
    if (item) return found("state", index, is(item.dtype, item.size));
  }
  return !inward && (key === "reset" || name === "done") ? { role: "other", index: 0 } : disagree(key, name);
}

function checkComplete(meta: Metadata, key: string, inputs: readonly Place[], outputs: readonly Place[]): void {
  if (key === "reset") return;
  const count = (places: readonly Place[], role: Place["role"]) => places.filter((place) => place.role === role).length;
  const states = meta.internal ? 0 : meta.packs.length, kept = states - (meta.encode ? 1 : 0);
  const steps = key !== "encode", rows = steps && key !== "fill";
  const expected: [readonly Place[], Place["role"], number][] = [
    [inputs, "input", steps ? meta.inputs.length : 0],
    [inputs, "valid", rows && meta.valid !== null ? 1 : 0],
    [inputs, "state", steps ? states : 0],
    [inputs, "source", steps ? 0 : meta.encode!.inputs.length],
    [outputs, "output", rows ? meta.outputs.length : 0],
    [outputs, "mark", rows ? meta.outputs.filter((out) => out.valid !== null).length : 0],
    [outputs, "state", steps ? kept : 1],
  ];
  if (expected.some(([places, role, number]) => count(places, role) !== number)) disagree(key, "one that is missing");
}

function stateOf(graph: Graph, step: Plan, pack: number, bytes: Uint8Array | null): State {
  const place = step.inputs.find((item) => item.role === "state" && item.index === pack);
  const buffer = graph.buffer(place!.tensor);
  if (bytes) graph.write(buffer, 0, bytes);
  return new State(buffer);
}

function initialStates(meta: Metadata, graph: Graph, step: Plan): State[] {
  return meta.internal ? [] : meta.packs.map((pack, index) => stateOf(graph, step, index, pack.initial));
}
