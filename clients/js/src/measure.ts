/** How long a step takes. */

import type { Model } from "./model.js";
import type { Numbers } from "./dtypes.js";

/** Microseconds of a step of zeros, the median of nine runs; inputs that a source comes before are measured after it. */
export async function measure(model: Model, steps = 200): Promise<number> {
  const stream = await model.createStream();
  try {
    if (model.sources.length) {
      await stream.encode(Object.fromEntries(model.sources.map((info) => [info.name, new Array<number>(info.elements).fill(info.low ?? 0)])));
    }
    const lowest = ({ low, elements }: Model["inputs"][number], count: number): Numbers => new Array<number>(elements * count).fill(low ?? 0);
    const inputs = Object.fromEntries(model.inputs.map((info) => [info.name, lowest(info, info.time ? model.chunk : 1)]));
    const runs = Math.max(1, Math.floor(steps / 9 / model.chunk)), found: number[] = [];
    for (let round = 0; round < 10; round++) {
      const begin = performance.now();
      for (let i = 0; i < runs; i++) await stream.step(inputs);
      found.push(((performance.now() - begin) * 1000) / (runs * model.chunk));
    }
    return found.slice(1).sort((a, b) => a - b)[4];
  } finally {
    stream.close();
  }
}
