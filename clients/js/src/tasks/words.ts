/** Words in, tags or predictions out: tagger, and classifier of words. */

import type { Core } from "../core.js";
import { judge, labelPath, labelsOf, type LabelPath, type Labelled } from "../labels.js";
import type { Row } from "../numeric.js";
import { Session, type Event, type SessionOptions } from "../session.js";
import type { Outputs, Stream } from "../stream.js";
import { WordEncoder, type WordInput } from "../words.js";

export class WordSession extends Session {
  private readonly encoder: WordEncoder;
  private readonly inputs: WordInput[];
  private readonly labels: string[];
  private readonly path: LabelPath | null;
  private readonly judge: (row: Row) => Event;
  /** Words whose tags are not settled. */
  private waiting: string[] = [];
  private isFed = false;

  /** @internal */
  constructor(core: Core, stream: Stream, options: SessionOptions) {
    super(core, stream, options);
    this.labels = labelsOf(core);
    this.encoder = new WordEncoder(core.files);
    this.inputs = this.encoder.match(core.metadata.inputs);
    this.path = core.task === "tagger" ? labelPath(core, this.labels.length) : null;
    this.judge = judge(core);
  }

  protected override takeWord(word: string): void {
    const { inputs } = this.core.metadata;
    const ids = Object.fromEntries(inputs.map((info, i) => [info.name, this.encoder.encode(word, this.inputs[i])]));
    const found = this.stream.feedNow(ids);
    this.isFed = true;
    this.waiting.push(word);
    this.take(found);
  }

  protected override end(): void {
    if (!this.isFed) return;
    this.take(this.stream.finishNow());
    this.tag(this.path?.finish() ?? []);
    this.waiting = [];
    this.isFed = false;
    this.stream.resetNow();
  }

  private take(outputs: Outputs): void {
    for (const row of this.rowsOf(outputs)) {
      if (this.path) this.tag(this.path.row(row));
      else this.tell(this.judge(row));
    }
  }

  private tag(found: Labelled[]): void {
    for (const { label, score } of found) this.tell({ event: "taggedword", word: this.waiting.shift() ?? "", tag: this.labels[label], score });
  }
}
