/** Which session a task has. */

import type { Core } from "./core.js";
import { fail, shown } from "./errors.js";
import type { Session, SessionOptions } from "./session.js";
import { Stream } from "./stream.js";
import { AnomalyDetector, Forecaster, RowClassifier, RowTagger } from "./tasks/rows.js";
import { KeywordSpotter, Transcriber } from "./tasks/sound.js";
import { Sketcher } from "./tasks/strokes.js";
import { Captioner, Generator, SimultaneousTranslator, Translator } from "./tasks/texts.js";
import { WordSession } from "./tasks/words.js";

type Kind = new (core: Core, stream: Stream, options: SessionOptions) => Session;

function kindOf(core: Core): Kind {
  const { task, encode } = core.metadata;
  const kinds: Record<string, Kind> = {
    tagger: WordSession,
    classifier: task?.input === "rows" ? RowClassifier : WordSession,
    sequence_tagger: RowTagger,
    forecaster: Forecaster,
    anomaly_detector: AnomalyDetector,
    keyword_spotter: KeywordSpotter,
    transcriber: Transcriber,
    translator: encode ? Translator : SimultaneousTranslator,
    captioner: Captioner,
    generator: Generator,
    sketcher: Sketcher,
  };
  const kind = core.task;
  if (kind !== null && Object.hasOwn(kinds, kind)) return kinds[kind];
  return fail("task", `the task is ${shown(kind ?? "none")}, which this client does not have; use a stream`);
}

export function openSession(core: Core, options: SessionOptions): Session {
  core.checkOpen();
  const kind = kindOf(core), stream = Stream.create(core);
  try {
    return new kind(core, stream, options);
  } catch (error) {
    stream.close();
    throw error;
  }
}
