// The microphone, at the model's sample rate, in blocks.

const BLOCK_SECONDS = 0.1;

export class Recorder {
  constructor(sampleRate, onBlock) {
    Object.assign(this, { sampleRate, onBlock });
  }

  async start() {
    if (!navigator.mediaDevices) throw new Error("the browser gives the microphone to https and localhost only");
    const audio = { channelCount: 1, echoCancellation: false, noiseSuppression: false, autoGainControl: false };
    this.tracks = await navigator.mediaDevices.getUserMedia({ audio });
    this.context = new AudioContext();
    await this.context.audioWorklet.addModule("worklet.js");
    const size = Math.round(BLOCK_SECONDS * this.sampleRate);
    const options = { numberOfOutputs: 0, processorOptions: { rate: this.sampleRate, size } };
    this.node = new AudioWorkletNode(this.context, "resampler", options);
    this.node.port.onmessage = (event) => this.onBlock(event.data);
    // Two sections of a Butterworth filter of fourth order: nothing may be left that the lower rate would fold back.
    let last = this.context.createMediaStreamSource(this.tracks);
    if (this.sampleRate < this.context.sampleRate) {
      for (const q of [0.541, 1.307]) {
        const section = new BiquadFilterNode(this.context, { type: "lowpass", frequency: 0.42 * this.sampleRate });
        section.Q.value = 20 * Math.log10(q);
        last = last.connect(section);
      }
    }
    last.connect(this.node);
  }

  async stop() {
    this.tracks?.getTracks().forEach((track) => track.stop());
    await this.context?.close();
  }
}
