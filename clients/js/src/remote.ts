/** A model in a worker, so that a page stays quick while it computes. */

import { StreamingError } from "./errors.js";
import type { RuntimeOptions } from "./litert.js";
import type { Answer, Calls, ModelInfo, RemoteTextOptions } from "./messages.js";
import type { Event, SessionOptions } from "./session.js";

export type { ModelInfo } from "./messages.js";

export interface WorkerOptions extends RuntimeOptions {
  /** A worker that runs `rnnzoo-streaming/worker`, where the one beside this module cannot be started. */
  worker?: Worker;
}

interface Waiting {
  resolve: (result: never) => void;
  reject: (error: StreamingError) => void;
}

/** Open a file as `open` does, in a worker. Addresses are relative to the page. */
export async function openInWorker(source: string | URL | ArrayBuffer | Uint8Array, options: WorkerOptions = {}): Promise<RemoteModel> {
  const { worker = new Worker(new URL("./worker.js", import.meta.url), { type: "module" }), ...rest } = options;
  const whole = (address: string) => new URL(address, globalThis.location?.href).href;
  const { wasm, litert } = rest;
  const link = new Link(worker);
  const given = source instanceof ArrayBuffer ? new Uint8Array(source) : source instanceof Uint8Array ? source : whole(String(source));
  try {
    const info = await link.call("open", given, { ...(wasm ? { wasm: whole(wasm) } : {}), ...(litert ? { litert: whole(litert) } : {}) });
    return new RemoteModel(link, info);
  } catch (error) {
    link.end();
    throw error;
  }
}

class Link {
  private readonly waiting = new Map<number, Waiting>();
  readonly listeners = new Map<number, (event: Event) => void>();
  private count = 0;
  private failure: StreamingError | null = null;

  constructor(private readonly worker: Worker) {
    worker.addEventListener("message", ({ data }: MessageEvent<Answer>) => this.take(data));
    worker.addEventListener("error", (event) => this.fail(new StreamingError("runtime", `the worker failed: ${event.message || "it could not be loaded"}`)));
  }

  call<K extends keyof Calls>(name: K, ...args: Parameters<Calls[K]>): Promise<ReturnType<Calls[K]>> {
    if (this.failure) return Promise.reject(this.failure);
    return new Promise((resolve, reject) => {
      const id = ++this.count;
      this.waiting.set(id, { resolve, reject });
      this.worker.postMessage({ id, name, args });
    });
  }

  private take(answer: Answer): void {
    if ("event" in answer) {
      this.listeners.get(answer.session)?.(answer.event);
      return;
    }
    const call = this.waiting.get(answer.id);
    this.waiting.delete(answer.id);
    if ("error" in answer) call?.reject(new StreamingError(answer.error.code, answer.error.message));
    else call?.resolve(answer.result as never);
  }

  private fail(error: StreamingError): void {
    this.failure = error;
    for (const { reject } of this.waiting.values()) reject(error);
    this.waiting.clear();
  }

  end(): void {
    this.worker.terminate();
    this.fail(new StreamingError("state", "the model is closed; open the file again"));
  }
}

export class RemoteModel {
  /** @internal */
  constructor(
    private readonly link: Link,
    readonly info: ModelInfo,
  ) {}

  async session(options: SessionOptions = {}): Promise<RemoteSession> {
    const { on, ...drawing } = options;
    const id = await this.link.call("session", drawing);
    if (on) this.link.listeners.set(id, on);
    return new RemoteSession(this.link, id);
  }

  /** Microseconds of a step, of some steps of zeros. */
  measure(steps = 200): Promise<number> {
    return this.link.call("measure", steps);
  }

  /** End the worker. */
  close(): void {
    this.link.end();
  }
}

/** The calls of a Session. */
export class RemoteSession {
  /** @internal */
  constructor(
    private readonly link: Link,
    private readonly id: number,
  ) {}

  word(word: string): Promise<Event[]> {
    return this.link.call("word", this.id, word);
  }

  row(row: ArrayLike<number>): Promise<Event[]> {
    return this.link.call("row", this.id, row);
  }

  samples(samples: ArrayLike<number>): Promise<Event[]> {
    return this.link.call("samples", this.id, samples);
  }

  text(text: string, options: RemoteTextOptions = {}): Promise<Event[]> {
    return this.link.call("text", this.id, text, options);
  }

  array(values: ArrayLike<number>): Promise<Event[]> {
    return this.link.call("array", this.id, values);
  }

  finish(): Promise<Event[]> {
    return this.link.call("finish", this.id);
  }

  close(): Promise<void> {
    this.link.listeners.delete(this.id);
    return this.link.call("close", this.id);
  }
}
