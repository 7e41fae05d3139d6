// Resamples what comes to the rate that is wanted, by interpolation between neighbours, and hands it on in blocks.

class Resampler extends AudioWorkletProcessor {
  constructor({ processorOptions }) {
    super();
    this.step = sampleRate / processorOptions.rate;
    this.size = processorOptions.size;
    this.block = new Float32Array(this.size);
    this.filled = 0;
    this.last = 0;  // the sample before the first of the next quantum
    this.place = 1; // of the next output; 0 is `last`, 1 the first of the quantum
  }

  process([input]) {
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

  put(sample) {
    this.block[this.filled++] = sample;
    if (this.filled < this.size) return;
    this.port.postMessage(this.block.buffer, [this.block.buffer]);
    this.block = new Float32Array(this.size);
    this.filled = 0;
  }
}

registerProcessor("resampler", Resampler);
