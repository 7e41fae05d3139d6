/** The microphone, at the sample rate of a model, in blocks. */

import { StreamingError, fail, lineOf } from "./errors.js";

export interface MicrophoneOptions {
  /** Samples a second; the browser's own rate is brought to it. */
  rate: number;
  /** Seconds of a block. */
  seconds?: number;
  onSamples: (samples: Float32Array) => void;
  /** Where the worklet is, if it does not lie beside this module. */
  worklet?: string | URL;
}

export interface Microphone {
  stop(): Promise<void>;
}

/** Ask for the microphone and listen until `stop`. */
export async function microphone(options: MicrophoneOptions): Promise<Microphone> {
  const { rate, seconds = 0.1, onSamples, worklet = new URL("./capture.js", import.meta.url) } = options;
  if (!globalThis.navigator?.mediaDevices) fail("state", "the browser gives the microphone to https and localhost only; serve the page so");
  const audio = { channelCount: 1, echoCancellation: false, noiseSuppression: false, autoGainControl: false };
  let tracks: MediaStream | null = null, context: AudioContext | null = null;
  const stop = async () => {
    tracks?.getTracks().forEach((track) => track.stop());
    await context?.close();
  };
  try {
    tracks = await navigator.mediaDevices.getUserMedia({ audio });
    context = new AudioContext();
    await context.audioWorklet.addModule(worklet);
    const processorOptions = { rate, size: Math.max(1, Math.round(seconds * rate)) };
    const node = new AudioWorkletNode(context, "capture", { numberOfOutputs: 0, processorOptions });
    node.port.onmessage = ({ data }) => onSamples(data as Float32Array);
    let last: AudioNode = context.createMediaStreamSource(tracks);
    if (rate < context.sampleRate) {
      // Two sections of a Butterworth filter of fourth order: nothing may be left that the lower rate would fold back.
      for (const q of [0.541, 1.307]) {
        const section = new BiquadFilterNode(context, { type: "lowpass", frequency: 0.42 * rate, Q: 20 * Math.log10(q) });
        last = last.connect(section);
      }
    }
    last.connect(node);
  } catch (error) {
    await stop();
    throw error instanceof StreamingError ? error : new StreamingError("runtime", `no microphone: ${lineOf(error)}`);
  }
  return { stop };
}
