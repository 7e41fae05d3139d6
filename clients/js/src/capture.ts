/** An audio worklet: samples at the rate that is wanted, by interpolation between neighbours, in blocks. */

interface Scope {
  sampleRate: number;
  AudioWorkletProcessor: new () => { readonly port: MessagePort };
  registerProcessor(name: string, processor: unknown): void;
}

const scope = globalThis as unknown as Scope;

class Capture extends scope.AudioWorkletProcessor {
  private readonly step: number;
  private readonly size: number;
  private block: Float32Array;
  private filled = 0;
  /** The sample before the first of the next quantum. */
  private last = 0;
  /** Of the next output: 0 is `last`, 1 the first of the quantum. */
  private place = 1;

  constructor({ processorOptions }: { processorOptions: { rate: number; size: number } }) {
    super();
    this.step = scope.sampleRate / processorOptions.rate;
    this.size = processorOptions.size;
    this.block = new Float32Array(this.size);
  }

  process([input]: Float32Array[][]): boolean {
    const samples = input[0];
    if (!samples) return true;
    for (; this.place <= samples.length; this.place += this.step) {
      const index = Math.floor(this.place), part = this.place - index;
      const left = index === 0 ? this.last : samples[index - 1];
      const right = index < samples.length ? samples[index] : left;
      this.put(left + part * (right - left));
    }
    this.place -= samples.length;
    this.last = samples[samples.length - 1];
    return true;
  }

  private put(sample: number): void {
    this.block[this.filled++] = sample;
    if (this.filled < this.size) return;
    this.port.postMessage(this.block, [this.block.buffer]);
    this.block = new Float32Array(this.size);
    this.filled = 0;
  }
}

scope.registerProcessor("capture", Capture);

export {};
