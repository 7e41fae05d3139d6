/* Mixture densities of movements of a pen, and what is drawn from them. docs/format.md, "sketcher". */

enum { ST_PENS = 3, ST_PARAMETERS = 6 };

/* Mulberry32: one step of the state, and a number from 0 up to 1. The client in JavaScript has the same one. */
static double st_random(uint32_t *state) {
  uint32_t x = *state += 0x6D2B79F5u;
  x = (x ^ x >> 15) * (x | 1);
  x ^= x + (x ^ x >> 7) * (x | 61);
  return (x ^ x >> 14) / 4294967296.0;
}

typedef struct st_movement {
  double dx, dy, score;
  size_t pen; /* 0: down, 1: lifted, 2: lifted, and the drawing ends */
} st_movement;

/* A place of log probabilities, `stride` apart: drawn, or at temperature 0 the best. */
static size_t st_draw_place(const double *logs, size_t count, size_t stride, double temperature, double random) {
  size_t best = 0;
  for (size_t i = 1; i < count; i++)
    if (logs[i * stride] > logs[best * stride]) best = i;
  if (temperature == 0) return best;
  double sum = 0, left;
  for (size_t i = 0; i < count; i++) sum += exp((logs[i * stride] - logs[best * stride]) / temperature);
  left = random * sum;
  for (size_t i = 0; i < count; i++) {
    left -= exp((logs[i * stride] - logs[best * stride]) / temperature);
    if (left < 0) return i;
  }
  return best; /* of rounding: all of them were passed */
}

static double st_clipped_exp(double x) { return exp(x < -20 ? -20 : x > 20 ? 20 : x); }

/* Logarithms of the probabilities of `count` logits, `stride` apart, in their place. */
static void st_log_probabilities(double *logits, size_t count, size_t stride) {
  double top = logits[0], sum = 0;
  for (size_t i = 1; i < count; i++) top = logits[i * stride] > top ? logits[i * stride] : top;
  for (size_t i = 0; i < count; i++) sum += exp(logits[i * stride] - top);
  for (size_t i = 0; i < count; i++) logits[i * stride] -= top + log(sum);
}

/* One movement of the 6 M + 3 numbers of an output, which are changed. */
static st_movement st_draw_movement(double *output, size_t components, double floor, double temperature, uint32_t *random) {
  double *pens = output + ST_PARAMETERS * components;
  st_log_probabilities(output, components, ST_PARAMETERS);
  st_log_probabilities(pens, ST_PENS, 1);
  double first = st_random(random), second = st_random(random);
  double radius = sqrt(-2 * log(1 - st_random(random))), angle = 2 * 3.14159265358979323846 * st_random(random);
  const double *best = output + ST_PARAMETERS * st_draw_place(output, components, ST_PARAMETERS, temperature, first);
  double rho = 0.95 * tanh(best[5]), x = radius * cos(angle), y = rho * x + sqrt(1 - rho * rho) * radius * sin(angle);
  st_movement found = {.pen = st_draw_place(pens, ST_PENS, 1, temperature, second)};
  found.dx = best[1] + sqrt(temperature) * (floor + st_clipped_exp(best[3])) * x;
  found.dy = best[2] + sqrt(temperature) * (floor + st_clipped_exp(best[4])) * y;
  double total = -INFINITY;
  for (size_t m = 0; m < components; m++) {
    const double *p = output + ST_PARAMETERS * m;
    double a = floor + st_clipped_exp(p[3]), b = floor + st_clipped_exp(p[4]), r = 0.95 * tanh(p[5]), rest = 1 - r * r;
    double u = (found.dx - p[1]) / a, v = (found.dy - p[2]) / b;
    double part = p[0] - (u * u + v * v - 2 * r * u * v) / (2 * rest) - log(2 * 3.14159265358979323846) - log(a) - log(b) - 0.5 * log(rest);
    double top = part > total ? part : total, low = part > total ? total : part;
    total = top == -INFINITY ? top : top + log1p(exp(low - top));
  }
  found.score = total + pens[found.pen];
  return found;
}
