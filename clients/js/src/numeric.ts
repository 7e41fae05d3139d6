/** Probabilities and sums, in float64. */

export type Row = ArrayLike<number>;

/** The place of the largest value, the first of equals. */
export function best(row: Row): number {
  let found = 0;
  for (let i = 1; i < row.length; i++) if (row[i] > row[found]) found = i;
  return found;
}

export function softmax(row: Row): Float64Array {
  const top = row[best(row)], found = Float64Array.from(row, (value) => Math.exp(value - top));
  const sum = found.reduce((a, b) => a + b, 0);
  return found.map((value) => value / sum);
}

export function logSoftmax(row: Row): Float64Array {
  const top = row[best(row)];
  let sum = 0;
  for (let i = 0; i < row.length; i++) sum += Math.exp(row[i] - top);
  return Float64Array.from(row, (value) => value - top - Math.log(sum));
}

/** Probabilities, each by itself. */
export function sigmoid(row: Row): Float64Array {
  return Float64Array.from(row, (value) => {
    const small = Math.exp(-Math.abs(value));
    return value >= 0 ? 1 / (1 + small) : small / (1 + small);
  });
}

/** log(exp(a) + exp(b)) */
export function logAdd(a: number, b: number): number {
  const top = Math.max(a, b), low = Math.min(a, b);
  return top === -Infinity ? top : top + Math.log1p(Math.exp(low - top));
}

/** Round to the nearest whole number, halves to the even one. */
export function rint(value: number): number {
  const down = Math.floor(value);
  return value - down === 0.5 ? down + (down % 2) : Math.round(value);
}

/** The complementary error function: a series below 3, a continued fraction above. */
export function erfc(x: number): number {
  if (x < 0) return 2 - erfc(-x);
  const bell = Math.exp(-x * x) / Math.sqrt(Math.PI);
  if (x < 3) {
    let term = x, sum = x;
    for (let n = 1; term > 1e-17 * sum; n++) sum += term *= (2 * x * x) / (2 * n + 1);
    return 1 - 2 * bell * sum;
  }
  let fraction = x;
  for (let n = 60; n > 0; n--) fraction = x + n / 2 / fraction;
  return bell / fraction;
}
