// How inputs and outputs of a kind of model look. A view's `state` is plain data, so that it can be kept and restored.

const POINTS = 240, EVENTS = 200, BARS = 6, SERIES = 8, LANES = 12;

function element(tag, className, text) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
}

// Neighbours in the list of labels are far apart on the wheel of colours.
function hue(index) { return (index * 137.5 + 210) % 360; }

function svg(tag, attributes) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  return made;
}

function shortened(_, value) { return typeof value === "number" ? Number(value.toPrecision(4)) : value; }

class View {
  constructor(box, model) {
    Object.assign(this, { box, model, state: this.empty(), threshold: model.threshold });
  }

  restore(state) {
    this.state = { ...this.empty(), ...structuredClone(state) };
    this.render();
  }

  // Whether what is new comes at the end.
  get follows() { return true; }

  // The state without what the requests after a token brought; their answers have not come yet.
  before() { return structuredClone(this.state); }

  take() {}

  render() {
    const isAtEnd = this.follows && this.box.scrollHeight - this.box.scrollTop - this.box.clientHeight < 40;
    this.box.replaceChildren(...this.drawn());
    if (isAtEnd) this.box.scrollTop = this.box.scrollHeight;
  }
}

// Words and their labels. What has been sent and not been decided yet is pale.
class Words extends View {
  empty() { return { sequences: [this.fresh()] }; }
  fresh() { return { decided: [], raw: "" }; }
  get current() { return this.state.sequences.at(-1); }

  take(request) {
    if (request.type === "feed") this.current.raw += request.text;
    this.render();
  }

  before(requests) {
    const state = super.before();
    const last = state.sequences.at(-1);
    const length = requests.reduce((sum, request) => sum + (request.text?.length ?? 0), 0);
    last.raw = last.raw.slice(0, last.raw.length - length);
    return state;
  }

  show(message, request) {
    for (const event of message.events) this.decide(event);
    if (request.type === "finish" && message.done) this.close();
    this.render();
  }

  decide(event) {
    // The server splits the text into words; nothing is lost but white space.
    this.current.raw = this.current.raw.trimStart().slice(event.word.length);
    this.current.decided.push({ word: event.word, label: event.tag, score: event.score });
  }

  close() {
    const later = this.current.raw;
    this.current.raw = "";
    if (this.current.decided.length) this.state.sequences.push(this.fresh());
    this.current.raw = later;
    this.state.sequences.splice(0, this.state.sequences.length - EVENTS);
  }

  drawn() {
    return this.state.sequences.map((sequence) => {
      const row = element("div", "sequence");
      for (const { word, label, score } of sequence.decided) {
        const chip = element("span", "word", word);
        const tag = element("small", "", label);
        tag.style.setProperty("--hue", hue(this.model.labels.indexOf(label)));
        chip.title = `${label}, ${(100 * score).toFixed(1)} %`;
        chip.append(tag);
        row.append(chip);
      }
      for (const word of sequence.raw.split(/\s+/).filter(Boolean)) {
        const chip = element("span", "word waiting", word);
        chip.append(element("small", "", "…"));
        row.append(chip);
      }
      return row;
    }).filter((row) => row.childElementCount);
  }
}

// What a text is about, said anew after every word.
class Labels extends Words {
  fresh() { return { decided: [], raw: "", scores: null }; }

  decide(event) {
    this.current.decided.push({ label: event.label });
    this.current.scores = event.scores;
  }

  drawn() {
    return this.state.sequences.filter((sequence) => sequence.raw || sequence.scores).map((sequence) => {
      const row = element("div", "sequence");
      row.append(element("div", "text", sequence.given ?? sequence.raw));
      if (sequence.scores) row.append(bars(this.model.labels, sequence.scores));
      return row;
    });
  }

  close() {
    this.current.given = this.current.raw;
    if (this.current.decided.length) this.state.sequences.push(this.fresh());
  }
}

function bars(labels, scores) {
  const order = scores.map((score, index) => [score, labels[index]]).sort((a, b) => b[0] - a[0]).slice(0, BARS);
  const box = element("div", "bars");
  for (const [score, label] of order) {
    const line = element("div", "bar");
    const track = element("span");
    const fill = element("i");
    fill.style.width = `${100 * score}%`;
    track.append(fill);
    line.append(element("span", "", label), track, element("span", "", `${(100 * score).toFixed(1)} %`));
    box.append(line);
  }
  return box;
}

// A text for a text: each by itself.
class Texts extends View {
  empty() { return { turns: [] }; }

  take(request) {
    if (request.type === "feed") this.state.turns.push({ given: request.text ?? "an array", made: "" });
    this.render();
  }

  before(requests) {
    const state = super.before();
    state.turns.splice(state.turns.length - requests.filter((request) => request.type === "feed").length);
    return state;
  }

  show(message, request) {
    const turn = this.state.turns.find((one) => !one.isDone);
    if (!turn || request.type !== "feed") return;
    for (const event of message.events) turn.made += event.text ?? event.word ?? "";
    turn.isDone = message.done;
    this.render();
  }

  drawn() {
    const isContinued = this.model.task === "generator";
    return this.state.turns.map((turn) => {
      const row = element("div", "sequence");
      const text = element("div", "text");
      text.append(element("span", "given", turn.given), isContinued ? "" : "\n", turn.made);
      row.append(text);
      return row;
    });
  }
}

// What is heard, with its time.
class Events extends View {
  empty() { return { events: [] }; }

  show(message) {
    for (const event of message.events) {
      const time = event.time ?? event.begin ?? event.row;
      const text = event.keyword ?? event.label ?? event.text ?? event.token ?? event.event;
      this.state.events.push({ time, text, score: event.score });
    }
    this.state.events.splice(0, this.state.events.length - EVENTS);
    if (message.events.length) this.render();
  }

  drawn() {
    return this.state.events.map(({ time, text, score }) => {
      const row = element("div", "event");
      const label = element("span", "word", text);
      row.append(element("time", "", time === undefined ? "" : `${Number(time).toFixed(2)} s`), label);
      if (score >= 0 && score <= 1) row.append(element("span", "", `${(100 * score).toFixed(0)} %`));
      return row;
    });
  }
}

// What is heard, and above it the scores of labels as bars over time, a lane for each label.
class Spots extends Events {
  empty() { return { ...super.empty(), scores: [] }; }

  get follows() { return false; }

  get shown() {
    const { labels, background } = this.model;
    return labels.flatMap((label, index) => (background.includes(label) ? [] : [index]));
  }

  show(message) {
    super.show(message);
    if (!message.scores) return;
    this.state.scores.push(message.scores);
    this.state.scores.splice(0, this.state.scores.length - POINTS);
    // Blocks may come faster than the screen is drawn.
    this.frame ??= requestAnimationFrame(() => {
      this.frame = null;
      this.render();
    });
  }

  drawn() {
    const { scores } = this.state, highest = (index) => Math.max(...scores.map((row) => row[index]));
    if (!scores.length) return super.drawn();
    const most = this.shown.map((index) => [highest(index), index]).sort((a, b) => b[0] - a[0]).slice(0, LANES);
    const box = element("div", "lanes");
    box.setAttribute("aria-live", "off");
    for (const index of most.map(([, index]) => index).sort((a, b) => a - b)) {
      const lane = svg("svg", { viewBox: `0 0 ${POINTS} 100`, preserveAspectRatio: "none", role: "img" });
      lane.setAttribute("aria-label", `${this.model.labels[index]}: at most ${(100 * highest(index)).toFixed(0)} %`);
      const from = POINTS - scores.length;
      for (const [className, isHigh] of [["low", false], ["high", true]]) {
        const bars = scores.map((row, at) => [from + at, 100 * row[index], row[index] >= this.threshold]);
        const d = bars.filter((bar) => bar[2] === isHigh).map(([x, height]) => `M${x} 100v${-height.toFixed(1)}h.8V100z`);
        lane.append(svg("path", { class: className, d: d.join("") }));
      }
      const height = 100 * (1 - this.threshold);
      lane.append(svg("line", { x1: 0, x2: POINTS, y1: height, y2: height }));
      box.append(element("span", "", this.model.labels[index]), lane);
    }
    return [box, ...super.drawn().reverse()];
  }
}

// Numbers as curves, one for each of the first outputs.
class Curves extends View {
  empty() { return { rows: [], names: [], last: "" }; }

  show(message) {
    const y = message.y === undefined ? message.events.map((event) => this.values(event)) : message.y;
    const rows = Array.isArray(y) ? y : Object.values(y)[0];
    for (const row of rows) this.state.rows.push([row].flat(Infinity).slice(0, SERIES).map(Number));
    this.state.rows.splice(0, this.state.rows.length - POINTS);
    if (rows.length) this.state.last = JSON.stringify(message.events?.at(-1) ?? rows.at(-1), shortened).slice(0, 400);
    this.render();
  }

  // What an event says, as numbers with names: scores of labels, an anomaly's score, the next values of columns.
  values(event) {
    if (event.scores) return this.named(this.model.labels, event.scores);
    if (event.event === "Forecast") {
      const next = Array.isArray(event.values[0]) ? event.values[0] : event.values;
      return this.named(this.model.targets ?? this.model.columns, next);
    }
    return this.named(["score"], [event.score]);
  }

  named(names, values) {
    this.state.names = (names ?? []).slice(0, SERIES);
    return values;
  }

  drawn() {
    const { rows, last } = this.state;
    if (!rows.length) return [];
    const all = rows.flat().filter(Number.isFinite);
    const bounds = this.model.threshold !== undefined ? [...all, this.threshold] : all;
    const low = Math.min(0, ...bounds), high = Math.max(0, ...bounds), span = high - low || 1;
    const height = (value) => (100 * (high - value)) / span;
    const plot = svg("svg", { class: "plot", viewBox: `0 -2 ${POINTS} 104`, preserveAspectRatio: "none", role: "img" });
    plot.setAttribute("aria-label", `The last ${rows.length} outputs, from ${low.toPrecision(3)} to ${high.toPrecision(3)}`);
    plot.append(svg("line", { x1: 0, x2: POINTS, y1: height(0), y2: height(0) }));
    const from = POINTS - rows.length;
    rows[0].forEach((_, series) => {
      const points = rows.map((row, index) => `${from + index} ${height(row[series] ?? 0).toFixed(2)}`);
      const path = svg("path", { d: `M${points.join("L")}` });
      path.style.setProperty("--hue", hue(series));
      plot.append(path);
    });
    if (this.model.threshold !== undefined) {
      const y = height(this.threshold);
      plot.append(svg("line", { class: "threshold", x1: 0, x2: POINTS, y1: y, y2: y }));
    }
    const row = element("div", "sequence"), legend = element("div", "legend");
    this.state.names.slice(0, rows[0].length).forEach((name, series) => {
      const entry = element("span", "", name);
      entry.style.setProperty("--hue", hue(series));
      legend.append(entry);
    });
    row.append(plot, legend, element("div", "last", last));
    return [row];
  }
}

export function viewOf(model, box) {
  if (model.takes === "words") return new (model.task === "tagger" ? Words : Labels)(box, model);
  if (model.takes === "text" || model.takes === "array") return new Texts(box, model);
  if (model.takes === "audio") return new (model.task === "keyword_spotter" ? Spots : Events)(box, model);
  return new Curves(box, model);
}
