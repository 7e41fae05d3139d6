/** Log-mel frames of a signal, and where utterances end. docs/format.md, "Audio". */

import { fail } from "./errors.js";
import { flag, isObject, real, text, whole, wrong } from "./metadata.js";
import { rint } from "./numeric.js";

type Json = Record<string, unknown>;

/** Samples to rows of log-mel energies, as they come. */
export class LogMel {
  readonly length: number;
  readonly step: number;
  readonly bands: number;
  /** Zeros before a signal and after its end. */
  readonly edge: number;
  private readonly power: number;
  private readonly floor: number;
  private readonly fourier: Fourier;
  private readonly window: Float64Array;
  /** Of each band: its first bin, and the weights from there on. */
  private readonly filters: { first: number; weights: number[] }[];
  private held: number[] = [];
  private skip = 0;

  constructor(spec: Json) {
    const rate = whole(spec, "sample_rate", 1, 1e6, 16000);
    this.length = whole(spec, "frame_length", 1, 32768, 400);
    this.step = whole(spec, "frame_step", 1, 2 ** 20, 160);
    this.bands = whole(spec, "num_mels", 1, 512, 40);
    this.power = real(spec, "power", 2);
    this.floor = real(spec, "floor", 1e-6);
    this.edge = flag(spec, "center", false) ? Math.floor(this.length / 2) : 0;
    const size = whole(spec, "fft_length", this.length, 32768, 512);
    const low = real(spec, "low_hz", 20), high = real(spec, "high_hz", 8000), scale = text(spec, "scale", "htk");
    const norm = spec.norm ?? null;
    if (!(low >= 0 && low < high && high <= rate / 2) || !(this.power > 0 && this.power <= 16 && this.floor > 0)) wrong("task.features");
    if ((scale !== "htk" && scale !== "slaney") || (norm !== null && norm !== "slaney")) wrong("task.features");
    this.fourier = new Fourier(size);
    this.window = Float64Array.from({ length: this.length }, (_, i) => 0.5 - 0.5 * Math.cos((2 * Math.PI * i) / this.length));
    this.filters = filters(edges(low, high, this.bands, scale === "slaney"), Math.floor(size / 2) + 1, rate / size, norm !== null);
  }

  reset(): void {
    this.held = [];
    this.skip = 0;
  }

  /** Takes a sample; the frame that it completes, null where it completes none. */
  sample(value: number): Float32Array | null {
    if (this.skip) {
      this.skip--;
      return null;
    }
    this.held.push(value);
    if (this.held.length < this.length) return null;
    const found = this.frame(this.held);
    const gone = Math.min(this.step, this.held.length);
    this.held = this.held.slice(gone);
    this.skip = this.step - gone;
    return found;
  }

  private frame(samples: readonly number[]): Float32Array {
    const energies = this.fourier.energies(this.window.map((weight, i) => weight * samples[i]));
    const spectrum = this.power === 2 ? energies : energies.map((energy) => Math.sqrt(energy) ** this.power);
    return Float32Array.from(this.filters, ({ first, weights }) => {
      let sum = 0;
      for (let i = 0; i < weights.length; i++) sum += weights[i] * spectrum[first + i];
      return Math.log(Math.max(sum, this.floor));
    });
  }
}

function edges(low: number, high: number, bands: number, isSlaney: boolean): number[] {
  const mel = (hz: number) =>
    !isSlaney ? 2595 * Math.log10(1 + hz / 700) : hz < 1000 ? (hz * 3) / 200 : 15 + (27 * Math.log(hz / 1000)) / Math.log(6.4);
  const hertz = (value: number) =>
    !isSlaney ? 700 * (10 ** (value / 2595) - 1) : value < 15 ? (value * 200) / 3 : 1000 * Math.exp(((value - 15) * Math.log(6.4)) / 27);
  const first = mel(low), last = mel(high), step = (last - first) / (bands + 1);
  return Array.from({ length: bands + 2 }, (_, i) => hertz(i === bands + 1 ? last : first + step * i));
}

function filters(hertz: number[], bins: number, width: number, isNormed: boolean): { first: number; weights: number[] }[] {
  return hertz.slice(2).map((end, band) => {
    const [begin, top] = hertz.slice(band, band + 2);
    const all = Array.from({ length: bins }, (_, k) => {
      const weight = Math.max(0, Math.min((k * width - begin) / (top - begin), (end - k * width) / (end - top)));
      return isNormed ? (weight * 2) / (end - begin) : weight;
    });
    const first = Math.max(0, all.findIndex((weight) => weight > 0));
    return { first, weights: all.slice(first, all.findLastIndex((weight) => weight > 0) + 1) };
  });
}

/** The discrete Fourier transform of a real signal: by factors of two, the odd rest by its definition. */
class Fourier {
  private readonly cosine: Float64Array;
  private readonly sine: Float64Array;
  private readonly input: Float64Array;
  private readonly re: Float64Array;
  private readonly im: Float64Array;

  constructor(private readonly size: number) {
    this.cosine = Float64Array.from({ length: size }, (_, i) => Math.cos((2 * Math.PI * i) / size));
    this.sine = Float64Array.from({ length: size }, (_, i) => Math.sin((2 * Math.PI * i) / size));
    [this.input, this.re, this.im] = [0, 0, 0].map(() => new Float64Array(size)) as [Float64Array, Float64Array, Float64Array];
  }

  /** Squared magnitudes of the bins 0 to size / 2; zeros follow the signal. */
  energies(signal: Float64Array): Float64Array {
    this.input.fill(0).set(signal);
    this.transform(0, 1, this.size, 0);
    const { re, im } = this;
    return Float64Array.from({ length: Math.floor(this.size / 2) + 1 }, (_, k) => re[k] * re[k] + im[k] * im[k]);
  }

  private transform(first: number, stride: number, n: number, out: number): void {
    const { re, im, cosine, sine } = this, turn = this.size / n;
    if (n % 2) {
      for (let k = 0; k < n; k++) {
        let a = 0, b = 0;
        for (let i = 0; i < n; i++) {
          const value = this.input[first + i * stride], place = ((i * k) % n) * turn;
          a += value * cosine[place];
          b -= value * sine[place];
        }
        re[out + k] = a;
        im[out + k] = b;
      }
      return;
    }
    const half = n / 2;
    this.transform(first, 2 * stride, half, out);
    this.transform(first + stride, 2 * stride, half, out + half);
    for (let k = out; k < out + half; k++) {
      const c = cosine[(k - out) * turn], s = -sine[(k - out) * turn];
      const a = re[k + half] * c - im[k + half] * s, b = re[k + half] * s + im[k + half] * c;
      re[k + half] = re[k] - a;
      im[k + half] = im[k] - b;
      re[k] += a;
      im[k] += b;
    }
  }
}

/** Where utterances end, by their level. */
export class Endpointer {
  private readonly block: number;
  private readonly blocks: number;
  private readonly energy: number;
  private filled = 0;
  private sum = 0;
  private quiet = 0;
  private speaking = false;

  /** Null where the task has no endpoints. */
  static of(task: Json, rate: number): Endpointer | null {
    return task.endpoint == null ? null : new Endpointer(isObject(task.endpoint) ? task.endpoint : wrong("task.endpoint"), rate);
  }

  private constructor(spec: Json, rate: number) {
    const silence = real(spec, "silence", 0.5), level = real(spec, "level", -40);
    this.block = Math.floor(rate / 100);
    if (!this.block || !(silence > 0 && silence <= 86400) || !(level < 0 && level >= -400)) wrong("task.endpoint");
    this.blocks = Math.max(1, rint((silence * rate) / this.block));
    this.energy = 10 ** (level / 10);
  }

  /** Takes a sample; whether an utterance ends with it. */
  sample(value: number): boolean {
    this.sum += value * value;
    if (++this.filled < this.block) return false;
    const isLoud = this.sum / this.block > this.energy;
    this.sum = this.filled = 0;
    this.quiet = isLoud ? 0 : this.quiet + 1;
    this.speaking ||= isLoud;
    if (!this.speaking || this.quiet < this.blocks) return false;
    this.speaking = false;
    return true;
  }

  reset(): void {
    this.sum = this.filled = this.quiet = 0;
    this.speaking = false;
  }
}

/** The samples of a WAV file of one channel of PCM, between -1 and 1. */
export function readWav(data: Uint8Array, rate: number): Float32Array {
  const view = new DataView(data.buffer, data.byteOffset, data.length), name = (at: number) => new TextDecoder("latin1").decode(data.subarray(at, at + 4));
  if (data.length < 12 || name(0) !== "RIFF" || name(8) !== "WAVE") fail("input", "the input is no WAV file; convert it to 16-bit WAV");
  let channels = 0, found = 0, bits = 0;
  for (let at = 12; at + 8 <= data.length; ) {
    const size = view.getUint32(at + 4, true), begin = at + 8;
    if (name(at) === "data") {
      if (channels !== 1 || found !== rate || ![8, 16, 24, 32].includes(bits)) {
        fail("input", `the WAV file has ${channels} channels of ${bits} bits at ${found} Hz, expected 1 of 8 to 32 bits at ${rate}; convert it`);
      }
      return pcm(view, begin, Math.min(size, data.length - begin), bits / 8);
    }
    if (name(at) === "fmt " && begin + 16 <= data.length) {
      [channels, found, bits] = [view.getUint16(begin + 2, true), view.getUint32(begin + 4, true), view.getUint16(begin + 14, true)];
    }
    at = begin + size + (size % 2);
  }
  return fail("input", "the WAV file has no samples; record something");
}

function pcm(view: DataView, begin: number, size: number, bytes: number): Float32Array {
  return Float32Array.from({ length: Math.floor(size / bytes) }, (_, i) => {
    const at = begin + i * bytes;
    if (bytes === 1) return (view.getUint8(at) - 128) / 128;
    if (bytes === 2) return view.getInt16(at, true) / 32768;
    if (bytes === 4) return view.getInt32(at, true) / 2 ** 31;
    return ((view.getInt8(at + 2) << 16) | view.getUint16(at, true)) / 2 ** 23;
  });
}
