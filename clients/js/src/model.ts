/** A streaming file: read, checked, and ready to run. */

import { hex, readZip, sha256, type Archive } from "./bytes.js";
import { Core, lines } from "./core.js";
import { KINDS } from "./dtypes.js";
import { fail, lineOf, shown } from "./errors.js";
import { Graph, runtime, type RuntimeOptions } from "./litert.js";
import { readMetadata, wrong, type InputInfo, type Metadata, type OutputInfo } from "./metadata.js";
import { Stream } from "./stream.js";
import type { Session, SessionOptions } from "./session.js";
import { openSession } from "./tasks.js";

/** Open a streaming file: its bytes, or where to fetch them from.
 *
 * @throws StreamingError file, version, runtime: what is wrong with it, and what to do.
 */
export async function open(source: string | URL | ArrayBuffer | Uint8Array, options: RuntimeOptions = {}): Promise<Model> {
  const content = typeof source === "string" || source instanceof URL ? await fetched(source) : bytes(source);
  if (content.length < 8 || new TextDecoder("latin1").decode(content.subarray(4, 8)) !== "TFL3") {
    fail("file", `no TFLite file (${content.length} bytes, no TFL3 mark); give one made by streaming.convert`);
  }
  const archive = await readZip(content);
  const text = archive.files.get("streaming.json");
  if (!text) fail("file", "the file has no streaming.json; give one made by streaming.convert");
  archive.files.delete("streaming.json");
  const metadata = readMetadata(text, archive.files);
  checkHashes(content, metadata, archive, text);
  const graph = await Graph.compile(await runtime(options), content.subarray(0, archive.start));
  try {
    return new Model(new Core(metadata, archive.files, graph));
  } catch (error) {
    graph.delete();
    throw error;
  }
}

function bytes(source: ArrayBuffer | Uint8Array): Uint8Array {
  if (source instanceof Uint8Array) return source;
  return source instanceof ArrayBuffer ? new Uint8Array(source) : fail("argument", "the model is no address and no bytes; give a URL, an ArrayBuffer or a Uint8Array");
}

async function fetched(address: string | URL): Promise<Uint8Array> {
  try {
    const response = await fetch(address);
    if (!response.ok) throw new Error(`it answers ${response.status}`);
    return new Uint8Array(await response.arrayBuffer());
  } catch (error) {
    return fail("file", `cannot read ${address} (${lineOf(error)}); give the address of a .tflite made by streaming.convert`);
  }
}

function checkHashes(content: Uint8Array, meta: Metadata, { files, start }: Archive, text: Uint8Array): void {
  const size = meta.flatbufferBytes;
  if (size > start) wrong("flatbuffer_bytes");
  const between = content.subarray(size, start);
  const whole = 4 + text.length + ((16 - (text.length % 16)) % 16);
  const entry = new Uint8Array(whole);
  new DataView(entry.buffer).setUint32(0, text.length, true);
  entry.set(text, 4);
  const fits = between.length === 0 || hex(between) === hex(entry);
  if (!fits || hex(sha256(content.subarray(0, size))) !== meta.fingerprint) {
    fail("file", "the file is damaged: the model does not match its fingerprint; copy or convert it again");
  }
  if (meta.files.size !== files.size) wrong("files");
  for (const [name, data] of files) {
    if (hex(sha256(data)) !== meta.files.get(name)) {
      fail("file", `the file is damaged: ${shown(name)} does not match its checksum; copy or convert it again`);
    }
  }
}

/** A model: what it takes and gives, and streams of it. */
export class Model {
  readonly inputs: readonly InputInfo[];
  readonly outputs: readonly OutputInfo[];
  /** What a stream is given whole before its first step; none for most models. */
  readonly sources: readonly InputInfo[];
  readonly fingerprint: string;
  /** Steps that `step` takes. */
  readonly chunk: number;
  readonly delay: number;
  /** Null: state is carried. */
  readonly window: number | null;
  readonly hop: number;
  /** The kind of task; null: none. */
  readonly task: string | null;
  /** Associated files by their names. */
  readonly files: ReadonlyMap<string, Uint8Array>;

  /** @internal */
  constructor(private readonly core: Core) {
    const { metadata } = core;
    this.inputs = metadata.inputs;
    this.outputs = metadata.outputs;
    this.sources = metadata.encode?.inputs ?? [];
    this.fingerprint = metadata.fingerprint;
    this.chunk = metadata.chunk;
    this.delay = metadata.delay;
    this.window = metadata.window;
    this.hop = metadata.hop;
    this.task = core.task;
    this.files = core.files;
  }

  /** Samples a second that an audio model takes; null: it takes no audio. */
  get sampleRate(): number | null {
    const rate = this.core.metadata.task?.sample_rate;
    return (this.task === "keyword_spotter" || this.task === "transcriber") && typeof rate === "number" ? rate : null;
  }

  /** The labels of the first output, where the file has them. */
  get labels(): string[] {
    const data = this.files.get("labels.txt");
    return data ? lines(data) : [];
  }

  /** Bytes of the state of one stream. */
  get stateBytes(): number {
    return this.core.metadata.packs.reduce((sum, pack) => sum + pack.size * KINDS[pack.dtype].bytes, 0);
  }

  /** The columns of a task that takes rows, with the mean and the scale that the file has of them. */
  get columns(): { name: string; mean: number; scale: number }[] {
    const { columns, scaler } = (this.core.metadata.task ?? {}) as { columns?: unknown[]; scaler?: { mean?: number[]; scale?: number[] } };
    const [info] = this.inputs, names = columns?.length ? columns : Array.from({ length: info.elements }, (_, i) => String(i));
    return names.map((name, i) => ({ name: String(name), mean: scaler?.mean?.[i] ?? 0, scale: scaler?.scale?.[i] ?? 1 }));
  }

  async createStream(): Promise<Stream> {
    return Stream.create(this.core);
  }

  /** A stream that goes on where one of this model was saved, by this client or another. */
  async restore(saved: Uint8Array | ArrayBuffer): Promise<Stream> {
    return Stream.restore(this.core, saved);
  }

  /** Raw input to events, by the file's task. */
  async session(options: SessionOptions = {}): Promise<Session> {
    return openSession(this.core, options);
  }

  /** Free the memory of the model; its streams and sessions are of no more use. */
  close(): void {
    this.core.close();
  }
}
