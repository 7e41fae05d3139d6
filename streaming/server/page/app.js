import { Player, requestsOf } from "./files.js";
import { Link } from "./link.js";
import { Recorder } from "./recorder.js";
import { viewOf } from "./views.js";

const KEY = "stream", LATENCIES = 64, LARGEST_KEPT = 1 << 20, LARGEST_BACKLOG = 1 << 18, WAVE_MS = 50;
const find = (id) => document.getElementById(id);
const [line, output, record, wave, end, reset] = ["line", "output", "record", "wave", "send", "reset"].map(find);
const [open, file, threshold] = ["open", "file", "threshold"].map(find);

// For each kind of input: what the field is called, what an empty output says, how it is used, what the button does.
const TEXTS = {
  words: ["Type a sentence", "Words and their labels appear here.", "A word goes out with the space behind it. Enter ends the sentence.", "End"],
  text: ["Type a text", "The answer appears here.", "Enter sends the text.", "Send"],
  audio: ["", "What is heard appears here.", "Speak, or drop a WAV file anywhere on this page. The sound goes to this server and nowhere else.", ""],
  steps: ["A step: numbers, with commas", "Outputs appear here.", "Enter sends a step. A whole JSON array of steps goes too, and so does a CSV file that is dropped on this page.", "End"],
};
TEXTS.rows = TEXTS.steps;
TEXTS.array = ["An array, as JSON", "The answer appears here.", "Enter sends the array.", "Send"];

let link, view, model, sent = 0, timer = null, recorder = null;
const latencies = [];
const kept = load();

link = new Link({ ready, answer, saved, rewind, refused, lost }, kept?.token ?? null);

function load() {
  try {
    return JSON.parse(sessionStorage.getItem(KEY));
  } catch {
    return null;
  }
}

function ready({ model: found }) {
  if (model && model.fingerprint !== found.fingerprint) location.reload();
  model = found;
  view ??= viewOf(model, output);
  const [label, empty, hint, action] = TEXTS[model.takes];
  document.title = model.name;
  find("name").textContent = model.name;
  find("about").textContent = about();
  find("delay").innerHTML = `${model.delay} <small>${model.delay === 1 ? "step" : "steps"}</small>`;
  find("state").innerHTML = bytes(model.state_bytes);
  find("prompt").textContent = label;
  find("hint").textContent = hint;
  output.dataset.empty = empty;
  end.textContent = action;
  line.hidden = find("prompt").hidden = model.takes === "audio";
  end.hidden = model.takes === "audio";
  record.hidden = model.takes !== "audio";
  wave.hidden = !isWavable();
  open.hidden = !takesFiles();
  file.accept = model.takes === "audio" ? "audio/*,.wav" : ".csv,.tsv,.txt,text/csv";
  showThreshold();
  for (const part of [line, end, reset]) part.disabled = false;
  state("open", "connected");
  if (!line.hidden && document.activeElement === document.body) line.focus();
}

function about() {
  if (model.takes === "steps") {
    const shapes = model.inputs.map(({ name, shape }) => `${name} (${shape.join(" × ") || "one number"})`);
    return `Takes ${shapes.join(", ")} a step.`;
  }
  const kind = model.task.replaceAll("_", " ");
  return `${/^[aeiou]/.test(kind) ? "An" : "A"} ${kind}${model.labels ? ` with ${model.labels.length} labels` : ""}.`;
}

function bytes(count) {
  const [value, unit] = count < 1024 ? [count, "B"] : count < 1 << 20 ? [count / 1024, "KB"] : [count / (1 << 20), "MB"];
  return `${value < 10 && unit !== "B" ? value.toFixed(1) : Math.round(value)} <small>${unit}</small>`;
}

function answer(message, request) {
  if (message.type === "error") return complain(message.message);
  if (message.type !== "output") return;
  find("message").hidden = true;
  view.show(message, request);
  find("position").textContent = message.position;
  latencies.push(message.ms);
  latencies.splice(0, latencies.length - LATENCIES);
  const middle = latencies.toSorted((a, b) => a - b)[latencies.length >> 1];
  find("latency").innerHTML = `${middle.toFixed(1)} <small>ms</small>`;
}

function saved(token, unsaved) {
  const text = JSON.stringify({ token, fingerprint: model.fingerprint, view: view.before(unsaved) });
  if (text.length < LARGEST_KEPT) sessionStorage.setItem(KEY, text);
}

// The view goes back to what the token holds; what was sent after it comes again.
function rewind(unsaved) {
  view.restore(link.token ? load()?.view : null);
  unsaved.forEach((request) => view.take(request));
}

function refused(text) {
  sessionStorage.removeItem(KEY);
  complain(`The earlier stream is over: ${text}`);
}

function lost(reason) {
  state("lost", "reconnecting");
  if (reason) complain(`Not connected: ${reason}. Trying again …`);
}

function state(name, text) {
  find("status").dataset.state = name;
  find("status").textContent = text;
  if (name === "open" && find("message").textContent.startsWith("Not connected")) find("message").hidden = true;
}

function complain(text) {
  find("message").textContent = text;
  find("message").hidden = false;
}

// A threshold is chosen on the scale of logits: one may be 0.9999.
function showThreshold() {
  const settings = find("settings");
  if (model.threshold === undefined || !settings.hidden) return;
  settings.hidden = false;
  const logit = Math.log(model.threshold / (1 - model.threshold));
  threshold.max = Math.max(threshold.max, Math.ceil(logit) + 2);
  threshold.value = logit;
  view.threshold = model.threshold;
  sayThreshold(model.threshold);
}

function sayThreshold(chosen) {
  const rest = Number((1 - chosen).toPrecision(2)), near = Number((1 - rest).toFixed(8));
  const text = rest < 1e-6 ? `1 − ${rest}` : String(chosen > 0.99 ? near : Number(chosen.toPrecision(2)));
  find("chosen").textContent = text;
  threshold.setAttribute("aria-valuetext", text);
}

threshold.addEventListener("input", () => {
  const chosen = 1 / (1 + Math.exp(-threshold.valueAsNumber));
  view.threshold = chosen;
  view.render();
  sayThreshold(chosen);
});

// The server is told what the slider comes to rest on.
threshold.addEventListener("change", () => link.set({ type: "set", threshold: view.threshold }));

function takesFiles() {
  return ["audio", "rows"].includes(model.takes) || (model.takes === "steps" && model.inputs.length === 1 && !model.encode.length);
}

let player = null;

async function stream(dropped) {
  if (player?.isPlaying || !model) return;
  if (!takesFiles()) return complain(`This model takes ${model.takes}, no files.`);
  find("message").hidden = true;
  player = new Player(link, send, () => showPlaying(false));
  try {
    const requests = await requestsOf(dropped, model);
    showPlaying(true);
    await player.play(requests);
  } catch (error) {
    complain(error.message);
  }
}

function showPlaying(isPlaying) {
  open.setAttribute("aria-pressed", String(isPlaying));
  open.textContent = isPlaying ? "Stop" : "Open a file";
}

open.addEventListener("click", () => (player?.isPlaying ? player.stop() : file.click()));
file.addEventListener("change", () => {
  if (file.files.length) stream(file.files[0]);
  file.value = "";
});
for (const kind of ["dragover", "dragleave", "drop"]) {
  document.addEventListener(kind, (event) => {
    event.preventDefault();
    document.body.classList.toggle("dropping", kind === "dragover");
    if (kind === "drop" && event.dataTransfer.files.length) stream(event.dataTransfer.files[0]);
  });
}

function send(request) {
  view?.take(request);
  link.send(request);
}

// Words go out as they are complete.
line.addEventListener("input", () => {
  if (model?.takes !== "words") return;
  const cut = line.value.search(/\s\S*$/) + 1;
  if (cut <= sent) return;
  send({ type: "feed", text: line.value.slice(sent, cut) });
  sent = cut;
});

find("entry").addEventListener("submit", (event) => {
  event.preventDefault();
  if (!model) return;
  const { takes } = model, text = line.value;
  if (takes === "words") {
    if (text.slice(sent).trim()) send({ type: "feed", text: `${text.slice(sent)} ` });
    send({ type: "finish" });
  } else if (takes === "text") {
    if (text) send({ type: "feed", text });
  } else if (text.trim() && takes !== "audio") {
    const x = numbers(text, takes);
    if (x === null) return complain("That is neither numbers with commas nor JSON.");
    send({ type: "feed", x });
  } else {
    send({ type: "finish" });
    if (takes === "steps") send({ type: "reset" });
  }
  line.value = "";
  sent = 0;
});

function numbers(text, takes) {
  try {
    const found = JSON.parse(text);
    if (typeof found === "object") return found;
  } catch { /* not JSON: numbers with commas, then */ }
  const row = text.split(",").map(Number);
  if (!row.every(Number.isFinite)) return null;
  return takes === "array" || model.inputs[0].shape.length === 0 ? row : [row];
}

reset.addEventListener("click", () => {
  player?.stop();
  sessionStorage.removeItem(KEY);
  link.restart();
  view?.restore(null);
  line.value = "";
  sent = 0;
  find("message").hidden = true;
  find("position").textContent = "0";
});

// A model of plain numbers can be tried without typing: a wave in each feature.
function isWavable() {
  return model.takes === "steps" && model.inputs.length === 1 && model.inputs[0].dtype.startsWith("float")
    && model.inputs[0].shape.length < 2 && !model.encode.length;
}

wave.addEventListener("click", () => {
  if (timer !== null) {
    clearInterval(timer);
    timer = null;
  } else {
    let step = 0;
    timer = setInterval(() => {
      if (!link.isOpen || link.socket.bufferedAmount > LARGEST_BACKLOG) return;
      const width = model.inputs[0].shape[0];
      const value = (feature) => Math.sin((step + 7 * feature) / (8 + feature));
      send({ type: "feed", x: [width === undefined ? value(0) : Array.from({ length: width }, (_, f) => value(f))] });
      step += 1;
    }, WAVE_MS);
  }
  wave.setAttribute("aria-pressed", String(timer !== null));
  wave.textContent = timer === null ? "Play a wave" : "Stop";
});

record.addEventListener("click", async () => {
  if (recorder) {
    await recorder.stop();
    recorder = null;
    send({ type: "finish" });
  } else {
    recorder = new Recorder(model.sample_rate, (block) => {
      if (link.isOpen && link.socket.bufferedAmount < LARGEST_BACKLOG) send(block);
    });
    try {
      await recorder.start();
    } catch (error) {
      recorder = null;
      return complain(`The microphone cannot be used: ${error.message}.`);
    }
  }
  record.setAttribute("aria-pressed", String(recorder !== null));
  record.textContent = recorder === null ? "Speak" : "Stop";
});
