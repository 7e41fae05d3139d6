/** A model in a worker of its own: `openInWorker` starts it. */

import { StreamingError, fail, lineOf } from "./errors.js";
import { open, type Model } from "./model.js";
import { measure } from "./measure.js";
import type { Answer, Call, Calls, ModelInfo } from "./messages.js";
import type { Session } from "./session.js";

const post = (answer: Answer) => (self as unknown as { postMessage(message: Answer): void }).postMessage(answer);

let model: Model | null = null;
const sessions = new Map<number, Session>();
let count = 0;

function opened(): Model {
  return model ?? fail("state", "no model is open; open one first");
}

function at(session: number): Session {
  return sessions.get(session) ?? fail("state", "the session is closed; open another");
}

function described(found: Model): ModelInfo {
  const { fingerprint, task, labels, sampleRate, chunk, delay, window, hop, stateBytes, columns } = found;
  const named = (infos: Model["inputs"]) => infos.map(({ name, dtype, shape }) => ({ name, dtype, shape }));
  return { fingerprint, task, labels, sampleRate, chunk, delay, window, hop, stateBytes, columns, inputs: named(found.inputs), sources: named(found.sources) };
}

type Handlers = { [K in keyof Calls]: (...args: Parameters<Calls[K]>) => Promise<ReturnType<Calls[K]>> };

const handlers: Handlers = {
  async open(source, options) {
    model = await open(source, options);
    return described(model);
  },
  measure: async (steps) => measure(opened(), steps),
  async session(options) {
    const id = ++count;
    sessions.set(id, await opened().session({ ...options, on: (event) => post({ session: id, event }) }));
    return id;
  },
  word: async (session, word) => at(session).word(word),
  row: async (session, row) => at(session).row(row),
  samples: async (session, samples) => at(session).samples(samples),
  text: async (session, text, options) => at(session).text(text, options),
  array: async (session, values) => at(session).array(values),
  finish: async (session) => at(session).finish(),
  async close(session) {
    at(session).close();
    sessions.delete(session);
  },
};

// One call after the other, in the order in which they came.
let last: Promise<void> = Promise.resolve();

self.addEventListener("message", ({ data }: MessageEvent<Call>) => {
  last = last.then(async () => {
    try {
      const handler = handlers[data.name] as (...args: unknown[]) => Promise<unknown>;
      post({ id: data.id, result: await handler(...data.args) });
    } catch (error) {
      const code = error instanceof StreamingError ? error.code : "runtime";
      post({ id: data.id, error: { code, message: lineOf(error) } });
    }
  });
});
