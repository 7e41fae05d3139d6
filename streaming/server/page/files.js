// Files that are dropped on the page: WAV for sound, CSV for rows. They are read here and streamed in blocks.

const BLOCK_SECONDS = 0.1, MOST_BLOCKS = 1500, WAIT_MS = 20, UNANSWERED = 2;

// The requests that a file makes, one after the other; throws an Error that says what is wrong with it.
export async function requestsOf(file, model) {
  return model.takes === "audio" ? soundRequests(file, model) : tableRequests(await file.text(), model);
}

async function soundRequests(file, model) {
  let sound;
  try {
    // Decoding at the model's rate resamples.
    const context = new OfflineAudioContext(1, 1, model.sample_rate);
    sound = await context.decodeAudioData(await file.arrayBuffer());
  } catch {
    throw new Error(`${file.name} is no sound that this browser reads; take WAV.`);
  }
  const samples = new Float32Array(sound.length);
  for (let channel = 0; channel < sound.numberOfChannels; channel += 1) {
    sound.getChannelData(channel).forEach((value, at) => { samples[at] += value / sound.numberOfChannels; });
  }
  const size = Math.max(Math.round(BLOCK_SECONDS * model.sample_rate), Math.ceil(samples.length / MOST_BLOCKS));
  const blocks = [];
  for (let at = 0; at < samples.length; at += size) blocks.push(samples.slice(at, at + size).buffer);
  return blocks;
}

function tableRequests(text, model) {
  const lines = text.replace(/^\ufeff/, "").split(/\r?\n/);
  const places = lines.flatMap((line, at) => (line.trim() ? [at] : []));
  if (!places.length) throw new Error("The file holds no rows.");
  const first = lines[places[0]];
  const delimiter = first.includes(";") ? ";" : first.includes("\t") ? "\t" : ",";
  const cells = (at) => lines[at].split(delimiter).map((cell) => cell.trim().replace(/^"(.*)"$/, "$1"));
  const table = new Table(model, delimiter);
  const header = cells(places[0]);
  const rows = places.slice(table.begin(header) ? 1 : 0).map((at) => table.row(cells(at), at + 1));
  if (!rows.length) throw new Error("The file holds no rows below its header.");
  const size = Math.ceil(rows.length / MOST_BLOCKS), requests = [];
  for (let at = 0; at < rows.length; at += size) {
    const part = rows.slice(at, at + size);
    const request = { type: "feed", x: part.map((row) => row.values) };
    if (table.isTimed) request.time = part.map((row) => row.time);
    requests.push(request);
  }
  return requests;
}

// Columns are told by their names where the model knows them, else by their order.
class Table {
  constructor(model, delimiter) {
    Object.assign(this, { model, delimiter, timePlace: -1 });
    this.shape = model.takes === "rows" ? null : model.inputs[0].shape;
    this.width = model.columns?.length || (this.shape ?? model.inputs[0].shape).reduce((a, b) => a * b, 1);
    this.isTimed = Boolean(model.resample);
  }

  // Takes the first line; whether it is a header.
  begin(line) {
    const wanted = this.model.columns ?? [];
    const isHeader = line.some((cell) => cell !== "" && !isMissing(cell) && Number.isNaN(this.number(cell)));
    this.places = Array.from({ length: this.width }, (_, i) => i);
    if (isHeader && wanted.length) {
      this.places = wanted.map((name) => line.indexOf(name));
      const lost = wanted.filter((_, i) => this.places[i] < 0);
      if (lost.length) throw new Error(`The file has no column ${lost.join(", ")}; it has ${line.join(", ")}.`);
    } else if (line.length < this.width) {
      throw new Error(`The file has ${line.length} columns, the model takes ${this.width}.`);
    }
    if (this.isTimed) {
      this.timePlace = line.indexOf(this.model.time);
      if (this.timePlace < 0) throw new Error(`The file has no column ${this.model.time}, by which rows are resampled.`);
    }
    return isHeader;
  }

  row(cells, number) {
    const values = this.places.map((place) => {
      const cell = cells[place];
      if (cell === undefined) throw new Error(`Line ${number} has ${cells.length} columns, one or more are missing.`);
      if (isMissing(cell)) {
        if ((this.model.missing ?? "refuse") === "refuse") throw new Error(`Line ${number} lacks a value.`);
        return null;
      }
      const value = this.number(cell);
      if (!Number.isFinite(value)) throw new Error(`Line ${number}: ${cell.slice(0, 40)} is no number.`);
      return value;
    });
    const time = this.timePlace < 0 ? null : cells[this.timePlace];
    const seconds = Number.isNaN(this.number(time ?? "")) ? time : this.number(time);
    return { values: this.shape?.length === 0 ? values[0] : values, time: seconds };
  }

  number(cell) {
    const plain = this.delimiter === "," ? cell : cell.replace(",", ".");
    return plain === "" ? NaN : Number(plain);
  }
}

function isMissing(cell) { return /^(|nan|na|n\/a|null|none|\?)$/i.test(cell); }

// Sends requests so fast as answers come, but not faster than one can see.
export class Player {
  constructor(link, send, onEnd) {
    Object.assign(this, { link, send, onEnd, isPlaying: false });
  }

  async play(requests) {
    this.isPlaying = true;
    for (const request of requests) {
      while (this.isPlaying && (!this.link.isOpen || this.link.pending.length >= UNANSWERED)) await pause();
      if (!this.isPlaying) break;
      this.send(request);
      await pause();
    }
    if (this.isPlaying) this.send({ type: "finish" });
    this.isPlaying = false;
    this.onEnd();
  }

  stop() { this.isPlaying = false; }
}

function pause() { return new Promise((resume) => { setTimeout(resume, WAIT_MS); }); }
