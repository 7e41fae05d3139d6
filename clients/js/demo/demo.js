// A static page: it fetches a model of the zoo and runs it in a worker. `models.json` lists them.

import { microphone, openInWorker } from "./streaming/index.js";

const LITERT = { litert: "litert/index.js", wasm: "litert/wasm/" };
const MAX_SEQUENCES = 50, ROW_MILLISECONDS = 50, PIECES = 200;

const at = (id) => document.getElementById(id);
const [select, line, output, pad] = ["model", "line", "output", "pad"].map(at);

let model = null, session = null, view = null, recording = null;

function element(tag, className, text) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
}

function say(error) {
  at("message").textContent = error?.message ?? "";
  at("message").hidden = !error;
}

function state(name, text) {
  at("status").dataset.state = name;
  at("status").textContent = text;
}

const percent = (score) => `${(100 * score).toFixed(1)} %`;

/** What the page shows of a sequence: its events, in the place for them. */
class Output {
  constructor() {
    this.fresh();
  }

  fresh() {
    this.box = null;
  }

  get sequence() {
    if (!this.box) {
      this.box = element("div", "sequence");
      output.append(this.box);
      while (output.childElementCount > MAX_SEQUENCES) output.firstElementChild.remove();
    }
    return this.box;
  }

  given(text) {
    this.sequence.append(element("span", "text given", text));
  }

  show(event) {
    this.sequence.append(this.drawn(event));
    output.scrollTop = output.scrollHeight;
  }

  /** One place that each event of a kind takes over from the last. */
  only(name, text, className = "event") {
    const found = this.sequence.querySelector(`[data-name=${name}]`) ?? element("div", className);
    found.dataset.name = name;
    found.textContent = text;
    return found;
  }

  drawn(event) {
    switch (event.event) {
      case "taggedword": {
        const chip = element("span", "word", event.word);
        chip.title = percent(event.score);
        chip.append(element("small", "", event.tag));
        return chip;
      }
      case "prediction":
        return this.only("prediction", `${event.label} ${percent(event.score)}${event.labels ? `: ${event.labels.join(", ")}` : ""}`);
      case "taggedrow":
        return element("span", "word", event.tag);
      case "forecast":
        return this.only("forecast", `row ${event.row}, next: ${event.values[0].map((value) => value.toFixed(2)).join(" ")}`);
      case "anomaly":
        return event.alarm ? element("div", "event alarm", `row ${event.row}: alarm`) : this.only("anomaly", `row ${event.row}, error ${event.error.toFixed(3)}`);
      case "keyword":
        return element("div", "event", `${event.time.toFixed(2)} s  ${event.label} ${percent(event.score)}`);
      case "utterance":
        return element("div", "event", `${event.begin.toFixed(2)} to ${event.end.toFixed(2)} s  ${event.label} ${percent(event.score)}`);
      case "translatedword":
        return element("span", "word", event.word);
      case "token":
        return element("span", "text", `${event.text} `);
      case "point":
        sketch.add(event);
        return this.only("point", `${sketch.count} points${event.end ? ", the end" : ""}`);
      default:
        return element("span", "text", event.text);
    }
  }
}

/** Numbers on the page's scale. */
function rowOf(text) {
  const cells = text.split(/[\s,;]+/).filter(Boolean).map(Number);
  if (cells.some(Number.isNaN)) throw new Error("numbers, separated by spaces, are expected");
  return cells;
}

/* How the input of each kind of task is taken. `typed` runs on each word or line, `end` when the sequence ends. */
const WORDS = {
  prompt: "Words; each is sent with the space after it, Enter ends the sentence",
  placeholder: "The dog barks at a cat",
  byWord: true,
  typed: (text) => session.word(text),
  end: () => session.finish(),
};
const TEXT = {
  prompt: "A text, then Enter",
  placeholder: "",
  typed: (text) => session.text(text, { maxLength: PIECES }),
  end: () => session.finish(),
};
const ROWS = {
  prompt: "Draw in the field, or type numbers and Enter",
  placeholder: "0.1 0.2",
  pad: "rows",
  typed: (text) => session.row(rowOf(text)),
  end: () => session.finish(),
};
const KINDS = {
  tagger: WORDS,
  classifier: WORDS,
  translator: TEXT,
  generator: { ...TEXT, placeholder: "ROMEO:" },
  sequence_tagger: ROWS,
  forecaster: ROWS,
  anomaly_detector: ROWS,
  sketcher: { prompt: "Draw a beginning, or nothing, then press Go", pad: "strokes", typed: () => sketch.give(session), end: () => session.finish() },
  captioner: { prompt: "Draw a picture, then press Go", pad: "picture", typed: () => session.array(picture()), end: () => session.finish() },
  keyword_spotter: { prompt: "Speak, or choose a recording", sound: true, typed: () => {}, end: () => session.finish() },
};

function kindOf({ task, inputs, sources }) {
  if (task === "classifier" && inputs[0].dtype === "float32") return ROWS;
  if (task === "translator" && !sources.length) return { ...WORDS, placeholder: "A man is riding a bicycle" };
  if (task === "transcriber") return KINDS.keyword_spotter;
  return KINDS[task] ?? { prompt: "This page does not know the task of the model", typed: () => {}, end: () => {} };
}

async function choose(entry) {
  await stop();
  model?.close();
  model = session = null;
  output.replaceChildren();
  say(null);
  state("waiting", "loading");
  controls(false);
  at("about").textContent = entry.about;
  at("size").textContent = `${(entry.size / 1e6).toFixed(2)} MB`;
  try {
    const next = await openInWorker(entry.url, LITERT);
    if (select.value !== entry.name) {
      next.close();
      return;
    }
    model = next;
    view = new Output();
    session = await model.session({ on: (event) => view.show(event) });
    const microseconds = await model.measure(300);
    at("time").textContent = `${microseconds < 10 ? microseconds.toFixed(1) : Math.round(microseconds)} µs`;
    at("delay").textContent = `${model.info.delay} steps`;
    at("state").textContent = `${(model.info.stateBytes / 1000).toFixed(1)} kB`;
    state("ready", "ready");
    controls(true);
  } catch (error) {
    state("failed", "failed");
    say(error);
  }
}

function controls(isReady) {
  const kind = model ? kindOf(model.info) : {};
  for (const id of ["line", "send", "clear"]) at(id).disabled = !isReady;
  at("prompt").textContent = kind.prompt ?? "Input";
  line.placeholder = kind.placeholder ?? "";
  line.value = "";
  line.hidden = Boolean(kind.sound || kind.pad === "picture" || kind.pad === "strokes");
  at("speak").hidden = at("sound").hidden = !kind.sound;
  pad.hidden = !kind.pad;
  if (kind.pad) clearPad();
}

/** Calls one after the other, their errors on the page. */
let last = Promise.resolve();
function run(call) {
  last = last.then(call).then(() => say(null), say);
  return last;
}

line.addEventListener("input", () => {
  const kind = kindOf(model.info);
  if (!kind.byWord || !/\s$/.test(line.value)) return;
  const words = line.value.split(/\s+/).filter(Boolean);
  line.value = "";
  for (const word of words) run(() => kind.typed(word));
});

at("entry").addEventListener("submit", (event) => {
  event.preventDefault();
  const kind = kindOf(model.info), text = line.value.trim();
  line.value = "";
  run(async () => {
    if (kind === ROWS) {
      if (text) await kind.typed(text);
      else await end();
      return;
    }
    if (text && !kind.byWord) view.given(`${text} `);
    if (text || kind.pad) await kind.typed(text);
    await end();
  });
});

async function end() {
  await kindOf(model.info).end();
  view.fresh();
}

at("clear").addEventListener("click", () => {
  clearPad();
  run(end).then(() => output.replaceChildren());
});

/* The field: a picture of the size that a model takes, a curve whose points are rows, or strokes. */

let pen = null;

function clearPad() {
  const kind = kindOf(model.info).pad;
  [pad.height, pad.width] = kind === "picture" ? model.info.sources[0].shape : kind === "strokes" ? [400, 400] : [160, 400];
  pad.dataset.kind = kind;
  sketch.clear();
  whiten();
}

function whiten() {
  const context = pad.getContext("2d");
  context.fillStyle = "#fff";
  context.fillRect(0, 0, pad.width, pad.height);
}

function picture() {
  const { data } = pad.getContext("2d").getImageData(0, 0, pad.width, pad.height);
  return Float32Array.from({ length: (data.length / 4) * 3 }, (_, i) => data[Math.floor(i / 3) * 4 + (i % 3)]);
}

function place(event) {
  const box = pad.getBoundingClientRect();
  return { x: (event.clientX - box.left) / box.width, y: (event.clientY - box.top) / box.height };
}

function stroke(from, to, colour = "#1c1e21") {
  const context = pad.getContext("2d");
  Object.assign(context, { strokeStyle: colour, lineWidth: Math.max(2, pad.width / 60), lineCap: "round" });
  context.beginPath();
  context.moveTo(from.x * pad.width, from.y * pad.height);
  context.lineTo(to.x * pad.width, to.y * pad.height);
  context.stroke();
}

/** The first column follows the height of the pen, the second its way to the right, others keep their means. */
function drawnRow({ x, y }) {
  return model.info.columns.map(({ mean, scale }, i) => mean + scale * (i === 0 ? 3 - 6 * y : i === 1 ? 6 * x - 3 : 0));
}

/* Strokes as points, in parts of the field: those that were drawn, and those that a model adds. */
const DEVIATIONS = 8; // as wide as the field is, in the model's movements
const SPACING = 0.1;

const sketch = {
  points: [],
  count: 0,

  clear() {
    this.points = [];
    this.count = 0;
  },

  /** A point of the pen; what is near the last one is left out, unless the stroke ends there. */
  draw(point, lift) {
    if (this.count) clearPad(); // the last drawing is done
    const last = this.points.at(-1);
    if (lift || !last || last.lift || Math.hypot(point.x - last.x, point.y - last.y) >= SPACING) this.points.push({ ...point, lift });
  },

  /** The drawing so far as rows; where there is none, that before the first point. */
  async give(session) {
    if (this.count) clearPad();
    if (!this.points.length) {
      this.points.push({ x: 0.15, y: 0.15, lift: true });
      await session.row([0, 0, 1]);
      return;
    }
    let last = this.points[0];
    for (const { x, y, lift } of this.points) {
      await session.row([(x - last.x) * this.unit(0), (y - last.y) * this.unit(1), Number(lift)]);
      last = { x, y };
    }
  },

  unit: (column) => DEVIATIONS * model.info.columns[column].scale,

  add({ dx, dy, lift }) {
    const { x, y } = this.points.at(-1);
    this.points.push({ x: x + dx / this.unit(0), y: y + dy / this.unit(1), lift });
    this.count++;
    this.show();
  },

  /** All of it, made smaller where it leaves the field. */
  show() {
    const [left, right] = ends(this.points.map(({ x }) => x)), [top, bottom] = ends(this.points.map(({ y }) => y));
    const size = Math.max(right - left, bottom - top);
    const placed = this.points.map(({ x, y }) => ({ x: (x - left) / size, y: (y - top) / size }));
    whiten();
    for (let i = 1; i < placed.length; i++) {
      if (!this.points[i - 1].lift) stroke(placed[i - 1], placed[i], i < placed.length - this.count ? undefined : "#1463c8");
    }
  },
};

/** From 0 to 1, or further where some values are. */
const ends = (values) => [Math.min(0, ...values), Math.max(1, ...values)];

pad.addEventListener("pointerdown", (event) => {
  pad.setPointerCapture(event.pointerId);
  pen = { at: place(event), timer: null };
  if (kindOf(model.info).pad === "strokes") sketch.draw(pen.at, false);
  if (kindOf(model.info).pad === "rows") pen.timer = setInterval(() => run(() => session.row(drawnRow(pen?.at ?? place(event)))), ROW_MILLISECONDS);
});
pad.addEventListener("pointermove", (event) => {
  if (!pen) return;
  const next = place(event);
  stroke(pen.at, next);
  pen.at = next;
  if (kindOf(model.info).pad === "strokes") sketch.draw(next, false);
});
pad.addEventListener("pointerup", () => {
  clearInterval(pen?.timer);
  if (pen && kindOf(model.info).pad === "strokes") sketch.draw(pen.at, true);
  pen = null;
});

/* Sound */

async function stop() {
  const found = recording;
  recording = null;
  at("speak").setAttribute("aria-pressed", "false");
  await found?.stop();
}

at("speak").addEventListener("click", () =>
  run(async () => {
    if (recording) {
      await stop();
      await end();
      return;
    }
    recording = await microphone({ rate: model.info.sampleRate, onSamples: (samples) => run(() => session?.samples(samples)) });
    at("speak").setAttribute("aria-pressed", "true");
  }),
);

at("file").addEventListener("change", ({ target }) =>
  run(async () => {
    const [file] = target.files, rate = model.info.sampleRate;
    const decoded = await new OfflineAudioContext(1, 1, rate).decodeAudioData(await file.arrayBuffer());
    await session.samples(decoded.getChannelData(0));
    await end();
    target.value = "";
  }),
);

const models = await (await fetch("models.json")).json();
select.append(...models.map(({ name }) => new Option(name)));
const wanted = decodeURIComponent(location.hash.slice(1));
if (models.some(({ name }) => name === wanted)) select.value = wanted;
select.addEventListener("change", () => choose(models.find(({ name }) => name === select.value)));
await choose(models.find(({ name }) => name === select.value));
