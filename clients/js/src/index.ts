/** Streams of recurrent models in TFLite files, in browsers and Node. */

export { affixes, WordEncoder, type WordInput } from "./words.js";
export { Codec } from "./codec.js";
export { LogMel, readWav } from "./audio.js";
export { StreamingError, type ErrorCode } from "./errors.js";
export { measure } from "./measure.js";
export { Model, open } from "./model.js";
export { Session, type DrawingOptions, type Event, type SessionOptions, type TextOptions } from "./session.js";
export { Stream, type Inputs, type Outputs, type Rows } from "./stream.js";
export { microphone, type Microphone, type MicrophoneOptions } from "./microphone.js";
export { openInWorker, type RemoteModel, type RemoteSession, type ModelInfo } from "./remote.js";
export type { DType, Numbers, Values } from "./dtypes.js";
export type { RuntimeOptions } from "./litert.js";
export type { InputInfo, OutputInfo, TensorInfo } from "./metadata.js";
