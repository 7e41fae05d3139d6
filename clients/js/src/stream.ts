/** One sequence: states that go from invoke to invoke. docs/format.md, "A stream". */

import { KINDS, arrayOf, bytesOf, type Numbers, type Values } from "./dtypes.js";
import { fail } from "./errors.js";
import { State, type Core, type Place, type Plan } from "./core.js";
import { free, type TensorBuffer } from "./litert.js";
import type { InputInfo, OutputInfo, TensorInfo } from "./metadata.js";
import { packed, unpacked, type Closed } from "./saved.js";

/** Rows of an output, the values of one after those of the other. */
export interface Rows {
  readonly data: Values;
  readonly count: number;
  /** Of one row. */
  readonly shape: readonly number[];
}

/** The rows of a call by the names of outputs. */
export type Outputs = Record<string, Rows>;

/** Numbers, or strings for an input that takes those: words, or texts. */
export type Given = Numbers | string | readonly string[];

/** Steps: values of the only input, or by the names of inputs. A step has the values of the input's shape. */
export type Inputs = Given | Record<string, Given>;

export class Stream {
  /** Steps taken by whole invokes, the lead included. */
  private taken = 0;
  /** Steps that wait for an invoke. */
  private waiting = 0;
  /** Bytes of the held steps of each input, room for `unit` of them. */
  private held: Uint8Array[] = [];
  private hasHeld = false;
  private states: State[] = [];
  private closed: Closed = "";
  private allowed = false;
  private freed = false;

  private constructor(private readonly core: Core) {}

  /** @internal */
  static create(core: Core): Stream {
    core.checkOpen();
    if (core.metadata.internal && core.streams) {
      fail("state", "the model keeps the state of one stream inside; close that stream, or open the file again");
    }
    const stream = new Stream(core);
    core.streams++;
    try {
      stream.resetNow();
    } catch (error) {
      stream.close();
      throw error;
    }
    return stream;
  }

  /** @internal */
  static restore(core: Core, saved: Uint8Array | ArrayBuffer): Stream {
    core.checkOpen();
    const { packs, held, ...header } = unpacked(core, saved);
    const stream = Stream.create(core);
    stream.replace(packs.map((bytes, index) => core.state(index, bytes)));
    held.forEach((bytes, i) => stream.held[i].set(bytes));
    stream.taken = header.position;
    stream.waiting = header.waiting;
    stream.hasHeld = header.hasHeld;
    stream.allowed = header.nan === "pass";
    stream.closed = header.closed;
    return stream;
  }

  /** Steps taken since the start. */
  get position(): number {
    return this.taken + this.waiting - this.core.metadata.lead;
  }

  /** Whether NaN and infinity are taken, which are refused otherwise. */
  get allowNaN(): boolean {
    return this.allowed;
  }

  set allowNaN(allow: boolean) {
    this.allowed = Boolean(allow);
  }

  /** Exactly `chunk` steps of the model: the rows that are ready. */
  async step(inputs: Inputs): Promise<Outputs> {
    return this.stepNow(inputs);
  }

  /** Any number of steps: the rows that are ready. */
  async feed(inputs: Inputs): Promise<Outputs> {
    return this.feedNow(inputs);
  }

  /** The end of the sequence: the rows that were held back. Only `reset` opens the stream again. */
  async finish(): Promise<Outputs> {
    return this.finishNow();
  }

  /** What the model is given whole before the first step. */
  async encode(sources: Inputs): Promise<void> {
    this.encodeNow(sources);
  }

  /** Begin another sequence. */
  async reset(): Promise<void> {
    this.resetNow();
  }

  /** @internal */
  resetNow(): void {
    this.checkUsable();
    const { metadata: meta, plans, graph } = this.core;
    if (meta.internal && plans.has("reset")) this.invoke(plans.get("reset")!).forEach(free);
    else if (meta.internal && graph.used) graph.restart();
    this.replace(this.core.initial.map((state) => state.retain()));
    this.held = meta.inputs.map((info) => zeros(info, info.time ? meta.unit : 1));
    this.taken = 0;
    this.waiting = meta.lead;
    this.hasHeld = meta.lead > 0;
    this.closed = meta.encode ? "without its source" : "";
  }

  /** Another stream that goes on from here; both share the states that they have. */
  async fork(): Promise<Stream> {
    return this.forkNow();
  }

  /** @internal */
  forkNow(): Stream {
    this.checkUsable();
    if (this.core.metadata.internal) fail("state", "cannot fork: the model keeps its state inside the interpreter; convert it with state='external'");
    const other = new Stream(this.core);
    this.core.streams++;
    other.states = this.states.map((state) => state.retain());
    other.held = this.held.map((bytes) => bytes.slice());
    other.taken = this.taken;
    other.waiting = this.waiting;
    other.hasHeld = this.hasHeld;
    other.closed = this.closed;
    other.allowed = this.allowed;
    return other;
  }

  /** The bytes of the stream, which any client goes on from. */
  async save(): Promise<Uint8Array> {
    this.checkUsable();
    const { closed, taken: position, waiting, hasHeld, states, core } = this;
    const held = core.metadata.inputs.map((info, i) => this.held[i].subarray(0, hasHeld ? info.bytes * (info.time ? waiting : 1) : 0));
    const packs = () => core.metadata.packs.map((pack, i) => core.graph.read(states[i].buffer, 0, pack.size * KINDS[pack.dtype].bytes));
    return packed(core, { closed, position, waiting, held: hasHeld, nan: this.allowed ? "pass" : "raise" }, packs, held);
  }

  /** Free the states. */
  close(): void {
    if (this.freed) return;
    this.freed = true;
    this.core.streams--;
    this.replace([]);
    this.closed = "closed";
  }

  private checkUsable(): void {
    this.core.checkOpen();
    if (this.freed) fail("state", "the stream is closed; create another");
  }

  private checkReady(): void {
    this.checkUsable();
    if (this.closed === "without its source") fail("state", "the stream has not seen its source; call encode first");
    if (this.closed) fail("state", `the stream is ${this.closed}; call reset to start a new sequence`);
  }

  private replace(states: State[]): void {
    this.states.forEach((state) => state.release());
    this.states = states;
  }

  /** @internal */
  stepNow(inputs: Inputs): Outputs {
    this.checkReady();
    const { unit, lead, chunk } = this.core.metadata, extra = this.waiting - lead;
    if (extra) fail("state", `${extra} steps of feed wait for ${unit}; go on with it until the chunk is whole`);
    const { bytes, steps } = this.read(inputs);
    if (steps !== chunk) fail("input", `step was given ${steps} steps, expected ${chunk}; use feed for other numbers`);
    return this.take(bytes, steps);
  }

  /** @internal */
  feedNow(inputs: Inputs): Outputs {
    this.checkReady();
    const { bytes, steps } = this.read(inputs);
    return this.take(bytes, steps);
  }

  /** Values by input, checked: a call that is refused changes nothing. */
  private read(inputs: Inputs): { bytes: Uint8Array[]; steps: number } {
    const infos = this.core.metadata.inputs, given = named(infos, inputs);
    let steps = -1;
    const bytes = infos.map((info) => {
      const found = bytesOf(info.name, info.dtype, numbersOf(info, given(info.name)));
      const count = info.bytes ? found.length / info.bytes : 0;
      if (info.time && (!Number.isInteger(count) || (steps >= 0 && count !== steps))) {
        fail("input", `input ${info.name} has ${found.length / KINDS[info.dtype].bytes} values, expected ${steps < 0 ? `${info.elements} a step` : steps * info.elements}`);
      }
      if (!info.time && found.length !== info.bytes) {
        fail("input", `input ${info.name} has ${found.length / KINDS[info.dtype].bytes} values, expected ${info.elements}`);
      }
      if (info.time) steps = count;
      this.checkValues(info, found);
      return found;
    });
    return { bytes, steps };
  }

  private checkValues(info: InputInfo, bytes: Uint8Array): void {
    if (info.dtype === "float16") fail("file", `input ${info.name} is float16, which browsers do not have; convert the model again`);
    const isReal = info.dtype === "float32" || info.dtype === "float64";
    if (isReal ? this.allowed : info.low === null && info.high === null) return;
    const values = arrayOf(info.dtype, bytes) as ArrayLike<number | bigint>;
    for (let i = 0; i < values.length; i++) {
      const value = values[i] as number;
      if (isReal && !Number.isFinite(value)) fail("input", `input ${info.name} holds ${value} at ${i}, expected finite numbers; clean it`);
      if (!isReal && ((info.low !== null && value < info.low) || (info.high !== null && value >= info.high))) {
        fail("input", `input ${info.name} holds ${value}, expected ${info.low ?? "any"} to ${info.high === null ? "any" : info.high - 1}; map what is unknown to the unknown id`);
      }
    }
  }

  private take(x: Uint8Array[], steps: number): Outputs {
    const { metadata: meta, plans } = this.core;
    const found = new Collector(this.core.metadata.outputs), fill = plans.get("fill");
    const filled = meta.hop * Math.min(...meta.outputs.map((out) => out.start));
    const whole = this.waiting ? this.joined(x, steps) : x, total = this.waiting + steps;
    let done = 0;
    while (total - done >= meta.unit) {
      const fills = fill !== undefined && this.taken + meta.unit <= filled;
      const large = !fills && meta.chunk !== meta.unit && total - done >= meta.chunk;
      const plan = fills ? fill : plans.get(large ? "chunk" : "step")!;
      this.write(plan, whole, done, plan.chunk, plan.chunk);
      const begin = this.taken, outputs = this.invoke(plan);
      this.taken += plan.chunk;
      this.waiting = 0; // also where a later invoke fails
      done += plan.chunk;
      this.collect(plan, outputs, found, begin, null);
    }
    this.hold(whole, done, total - done);
    return found.rows();
  }

  /** The held steps and those of x, one after the other. */
  private joined(x: Uint8Array[], steps: number): Uint8Array[] {
    return this.core.metadata.inputs.map((info, i) => {
      if (!info.time) return x[i];
      const old = this.waiting * info.bytes, joined = new Uint8Array(old + steps * info.bytes);
      joined.set(this.held[i].subarray(0, old));
      joined.set(x[i], old);
      return joined;
    });
  }

  private hold(x: Uint8Array[], done: number, steps: number): void {
    const { inputs } = this.core.metadata, statics = inputs.some((info) => !info.time);
    inputs.forEach((info, i) => this.held[i].set(info.time ? x[i].subarray(done * info.bytes, (done + steps) * info.bytes) : x[i]));
    this.waiting = steps;
    this.hasHeld = steps > 0 || statics;
  }

  /** @internal */
  finishNow(): Outputs {
    this.checkReady();
    const { metadata: meta, plans } = this.core, found = new Collector(this.core.metadata.outputs);
    const begin = this.taken, total = begin + this.waiting, isWindow = meta.window !== null;
    let end = total > meta.lead ? total + meta.flush : 0;
    if (isWindow) end = meta.pad && total > meta.lead ? total : begin;
    const plan = plans.get("step")!;
    const room = meta.unit * Math.max(0, Math.ceil((end - begin) / meta.unit));
    const padded = this.core.metadata.inputs.map((info, i) => {
      if (!info.time) return this.held[i];
      const rows = zeros(info, Math.max(room, this.waiting));
      rows.set(this.held[i].subarray(0, this.waiting * info.bytes));
      return rows;
    });
    while (this.taken < end) {
      const at = this.taken;
      this.write(plan, padded, at - begin, meta.unit, Math.max(0, total - at));
      const outputs = this.invoke(plan);
      this.taken += meta.unit;
      this.collect(plan, outputs, found, at, isWindow ? null : total);
    }
    this.taken = total;
    this.waiting = 0;
    this.hasHeld = false;
    this.closed = "finished";
    return found.rows();
  }

  /** @internal */
  encodeNow(sources: Inputs): void {
    const { metadata: meta, plans, graph } = this.core, encode = meta.encode, plan = plans.get("encode");
    this.checkUsable();
    if (!encode || !plan) fail("state", "the model has no signature encode; begin with step or feed");
    if (this.closed !== "without its source") fail("state", "the stream has its source already; call reset to give it another");
    const given = named(encode.inputs, sources);
    const bytes = encode.inputs.map((info) => {
      const found = bytesOf(info.name, info.dtype, numbersOf(info, given(info.name))), count = info.bytes ? found.length / info.bytes : 0;
      const most = info.time ? encode.maxLength : 1;
      if (!Number.isInteger(count) || count < 1 || count > most) {
        fail("input", `source ${info.name} has ${found.length / KINDS[info.dtype].bytes} values, expected ${info.time ? `1 to ${most} positions of ${info.elements}` : info.elements}`);
      }
      this.checkValues(info, found);
      return found;
    });
    plan.inputs.forEach(({ role, index, tensor }, i) => {
      const info = encode.inputs[index], size = bytes[index].length;
      const whole = new Uint8Array(tensor.bytes);
      if (role === "source") whole.set(bytes[index]);
      else whole.set(flags(tensor, size / info.bytes));
      graph.write(plan.buffers[i]!, 0, whole);
    });
    this.invoke(plan).forEach(free);
    this.closed = "";
  }

  /** Steps of x from `done` on into the buffers of a plan, the first `real` of them real. */
  private write(plan: Plan, x: Uint8Array[], done: number, steps: number, real: number): void {
    const { graph } = this.core, { inputs } = this.core.metadata;
    plan.inputs.forEach(({ role, index, tensor }, i) => {
      const buffer = plan.buffers[i];
      if (role === "input") {
        const { time, bytes } = inputs[index];
        graph.write(buffer!, 0, time ? x[index].subarray(done * bytes, (done + steps) * bytes) : x[index]);
      } else if (role === "valid") graph.write(buffer!, 0, flags(tensor, real));
    });
  }

  /** Run a signature; its new states are taken over, its other outputs given. */
  private invoke(plan: Plan): (TensorBuffer | null)[] {
    const buffers = plan.inputs.map((place, i) => (place.role === "state" ? this.states[place.index].buffer : plan.buffers[i]!));
    const found = this.core.graph.run(plan.signature, buffers);
    return found.map((buffer, i) => {
      const place = plan.outputs[i];
      if (place.role !== "state" || this.core.metadata.internal) return buffer;
      this.states[place.index].release();
      this.states[place.index] = new State(buffer);
      return null;
    });
  }

  /** The rows of an invoke that exist; `total` is the length of the sequence where it is known. */
  private collect(plan: Plan, buffers: (TensorBuffer | null)[], into: Collector, begin: number, total: number | null): void {
    const { graph, metadata: meta } = this.core;
    const marks = new Map<number, Uint8Array>();
    plan.outputs.forEach((place, i) => {
      if (place.role === "mark") marks.set(place.index, graph.read(buffers[i]!, 0, place.tensor.bytes));
    });
    plan.outputs.forEach((place, i) => {
      if (place.role === "output") {
        const out = meta.outputs[place.index], count = (plan.chunk * out.up) / out.down;
        const mark = marks.get(place.index);
        if (mark) {
          const rows = graph.read(buffers[i]!, 0, place.tensor.bytes), size = mark.length / count;
          for (let r = 0; r < count; r++) if (mark[r * size]) into.add(place.index, rows.subarray(r * out.bytes, (r + 1) * out.bytes));
        } else {
          const first = Math.max(0, out.start - Math.floor(begin / meta.hop));
          const last = total === null ? count : Math.min(count, Math.floor((Math.max(0, total + out.end - begin) * out.up) / out.down));
          if (first < last) into.add(place.index, graph.read(buffers[i]!, first * out.bytes, last * out.bytes));
        }
      }
      free(buffers[i]);
    });
  }
}

/** Rows of several invokes, joined. */
class Collector {
  private readonly pieces: Uint8Array[][];

  constructor(private readonly outputs: readonly OutputInfo[]) {
    this.pieces = outputs.map(() => []);
  }

  add(output: number, rows: Uint8Array): void {
    this.pieces[output].push(rows);
  }

  rows(): Outputs {
    const found: Outputs = {};
    this.outputs.forEach((out, i) => {
      const pieces = this.pieces[i], size = pieces.reduce((sum, piece) => sum + piece.length, 0);
      const joined = pieces.length === 1 ? pieces[0] : new Uint8Array(size);
      if (pieces.length > 1) pieces.reduce((at, piece) => (joined.set(piece, at), at + piece.length), 0);
      found[out.name] = { data: arrayOf(out.dtype, joined), count: out.bytes ? size / out.bytes : 0, shape: out.shape };
    });
    return found;
  }
}

/** Values by name; those of an only input may come without one. */
function named(infos: readonly TensorInfo[], inputs: Inputs): (name: string) => Given {
  const isPlain = typeof inputs === "object" && inputs !== null && !Array.isArray(inputs) && !ArrayBuffer.isView(inputs);
  if (!isPlain) {
    if (infos.length === 1) return () => inputs as Given;
    return fail("input", `the model takes ${infos.map((info) => info.name).join(", ")}; give them by name`);
  }
  const given = inputs as Record<string, Given>;
  const extra = Object.keys(given).find((key) => !infos.some((info) => info.name === key));
  if (extra !== undefined) fail("input", `there is no input ${extra}, expected ${infos.map((info) => info.name).join(", ")}`);
  return (name) => given[name] ?? fail("input", `input ${name} is missing; give ${infos.map((info) => info.name).join(", ")}`);
}

/** Strings as their ids, where the input has a table of them. */
function numbersOf(info: InputInfo, given: Given): Numbers {
  const list: readonly unknown[] = typeof given === "string" ? [given] : Array.isArray(given) ? given.flat(8) : [];
  if (!info.table || !list.length || !list.every((item) => typeof item === "string")) return given as Numbers;
  return info.table.ids(list as string[], info.name);
}

/** Steps of zeros: of quantized inputs their zero point. */
function zeros(info: InputInfo, steps: number): Uint8Array {
  const bytes = new Uint8Array(info.bytes * steps);
  if (info.zeroPoint && !info.dtype.startsWith("float")) {
    const values = arrayOf(info.dtype, bytes);
    if (values instanceof BigInt64Array) values.fill(BigInt(info.zeroPoint));
    else values.fill(info.zeroPoint);
  }
  return bytes;
}

/** A mask whose first values are one. */
function flags(tensor: Place["tensor"], ones: number): Uint8Array {
  const bytes = new Uint8Array(tensor.bytes), size = tensor.bytes / tensor.elements;
  for (let i = 0; i < Math.min(ones, tensor.elements); i++) bytes[i * size] = 1;
  return bytes;
}
