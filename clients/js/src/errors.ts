/** What went wrong: an argument, a file, its version, LiteRT, its memory, a value, the order of calls, a saved stream, or a task. */
export type ErrorCode = "argument" | "file" | "version" | "runtime" | "memory" | "input" | "state" | "blob" | "task";

/** An error with a code and one line: what was expected, what came, what to do. */
export class StreamingError extends Error {
  constructor(
    readonly code: ErrorCode,
    message: string,
  ) {
    super(message);
    this.name = "StreamingError";
  }
}

export function fail(code: ErrorCode, message: string): never {
  throw new StreamingError(code, message);
}

/** The message of anything that was thrown, on one line. */
export function lineOf(error: unknown): string {
  const text = error instanceof Error ? error.message : String(error);
  return text.replace(/\s+/g, " ").trim() || "no reason was given";
}

/** A name of a file from a stranger, for a message. */
export function shown(name: unknown): string {
  return String(name)
    .replace(/[^\x20-\x7e]/g, "?")
    .slice(0, 80);
}
