/* Log-mel frames of a signal, and where utterances end. */

#define ST_PI 3.14159265358979323846

typedef struct st_mel {
  size_t length, step, fft, bands, bins, edge;
  double power, floor;
  double *window, *filters, *cosine, *sine; /* filters (bins, bands); tables of the transform (fft) */
  double *held, *spectrum, *re, *im;        /* samples that later frames need; of the frame at hand */
  size_t held_count, held_size, skip;
  bool begun;
} st_mel;

static void st_mel_free(st_mel *mel) {
  if (!mel) return;
  free(mel->window);
  free(mel->filters);
  free(mel->cosine);
  free(mel->sine);
  free(mel->held);
  free(mel->spectrum);
  free(mel->re);
  free(mel->im);
  free(mel);
}

static double st_to_mel(double hz, bool slaney) {
  if (!slaney) return 2595.0 * log10(1.0 + hz / 700.0);
  return hz < 1000.0 ? hz * 3.0 / 200.0 : 15.0 + 27.0 * log(hz / 1000.0) / log(6.4);
}

static double st_to_hz(double mel, bool slaney) {
  if (!slaney) return 700.0 * (pow(10.0, mel / 2595.0) - 1.0);
  return mel < 15.0 ? mel * 200.0 / 3.0 : 1000.0 * exp((mel - 15.0) * log(6.4) / 27.0);
}

static streaming_code st_mel_fill(st_mel *mel, const st_json *spec) {
  size_t rate;
  double low = st_number(spec, "low_hz", 20), high = st_number(spec, "high_hz", 8000);
  const char *scale = st_text(spec, "scale", "htk"), *norm = st_text(spec, "norm", NULL);
  bool slaney = !strcmp(scale, "slaney"), good = st_whole(spec, "sample_rate", 1, 1e6, 16000, &rate) &&
       st_whole(spec, "frame_length", 1, 32768, 400, &mel->length) && st_whole(spec, "frame_step", 1, 1 << 20, 160, &mel->step) &&
       st_whole(spec, "fft_length", (double)mel->length, 32768, 512, &mel->fft) && st_whole(spec, "num_mels", 1, 512, 40, &mel->bands);
  mel->power = st_number(spec, "power", 2);
  mel->floor = st_number(spec, "floor", 1e-6);
  if (!good || !(low >= 0 && low < high && high <= (double)rate / 2) || !(mel->power > 0 && mel->power <= 16 && mel->floor > 0) ||
      (!slaney && strcmp(scale, "htk")) || (norm && strcmp(norm, "slaney")))
    return st_wrong("task.features");
  mel->edge = st_flag(spec, "center", false) ? mel->length / 2 : 0;
  mel->bins = mel->fft / 2 + 1;
  mel->held_size = mel->length + mel->step + 1;
  mel->window = st_malloc(mel->length * sizeof(double));
  mel->filters = st_calloc(mel->bins * mel->bands, sizeof(double));
  mel->cosine = st_malloc(mel->fft * sizeof(double));
  mel->sine = st_malloc(mel->fft * sizeof(double));
  mel->held = st_calloc(mel->held_size, sizeof(double));
  mel->spectrum = st_malloc(mel->bins * sizeof(double));
  mel->re = st_malloc(mel->fft * sizeof(double));
  mel->im = st_malloc(mel->fft * sizeof(double));
  if (!mel->window || !mel->filters || !mel->cosine || !mel->sine || !mel->held || !mel->spectrum || !mel->re || !mel->im) return st_no_memory();
  for (size_t i = 0; i < mel->length; i++) mel->window[i] = 0.5 - 0.5 * cos(2.0 * ST_PI * (double)i / (double)mel->length);
  for (size_t i = 0; i < mel->fft; i++) {
    mel->cosine[i] = cos(2.0 * ST_PI * (double)i / (double)mel->fft);
    mel->sine[i] = sin(2.0 * ST_PI * (double)i / (double)mel->fft);
  }
  double first = st_to_mel(low, slaney), last = st_to_mel(high, slaney), step = (last - first) / (double)(mel->bands + 1);
  for (size_t m = 0; m < mel->bands; m++) {
    double a = st_to_hz(first + step * (double)m, slaney), b = st_to_hz(first + step * (double)(m + 1), slaney);
    double c = m + 2 == mel->bands + 1 ? st_to_hz(last, slaney) : st_to_hz(first + step * (double)(m + 2), slaney);
    for (size_t k = 0; k < mel->bins; k++) {
      double hz = (double)k * ((double)rate / (double)mel->fft), rise = (hz - a) / (b - a), fall = (c - hz) / (c - b);
      double weight = rise < fall ? rise : fall;
      if (weight > 0) mel->filters[k * mel->bands + m] = norm ? weight * 2.0 / (c - a) : weight;
    }
  }
  return STREAMING_OK;
}

static void st_mel_reset(st_mel *mel) {
  mel->held_count = mel->skip = 0;
  mel->begun = false;
}

/* Discrete Fourier transform by factors of two, the odd rest by its definition. */
static void st_transform(const st_mel *mel, const double *in, size_t stride, size_t n, double *re, double *im) {
  size_t turn = mel->fft / n;
  if (n % 2 || n == 1) {
    for (size_t k = 0; k < n; k++) {
      double a = 0, b = 0;
      for (size_t i = 0; i < n; i++) {
        size_t place = i * k % n * turn;
        a += in[i * stride] * mel->cosine[place];
        b -= in[i * stride] * mel->sine[place];
      }
      re[k] = a;
      im[k] = b;
    }
    return;
  }
  size_t half = n / 2;
  st_transform(mel, in, 2 * stride, half, re, im);
  st_transform(mel, in + stride, 2 * stride, half, re + half, im + half);
  for (size_t k = 0; k < half; k++) {
    double c = mel->cosine[k * turn], s = -mel->sine[k * turn];
    double a = re[half + k] * c - im[half + k] * s, b = re[half + k] * s + im[half + k] * c;
    re[half + k] = re[k] - a;
    im[half + k] = im[k] - b;
    re[k] += a;
    im[k] += b;
  }
}

static void st_frame(st_mel *mel, double *frame, float *row) {
  for (size_t i = 0; i < mel->length; i++) frame[i] = mel->held[i] * mel->window[i];
  memset(frame + mel->length, 0, (mel->fft - mel->length) * sizeof *frame);
  st_transform(mel, frame, 1, mel->fft, mel->re, mel->im);
  for (size_t k = 0; k < mel->bins; k++) {
    double energy = mel->re[k] * mel->re[k] + mel->im[k] * mel->im[k];
    mel->spectrum[k] = mel->power == 2.0 ? energy : pow(sqrt(energy), mel->power);
  }
  for (size_t m = 0; m < mel->bands; m++) {
    double sum = 0;
    for (size_t k = 0; k < mel->bins; k++) sum += mel->spectrum[k] * mel->filters[k * mel->bands + m];
    row[m] = (float)log(sum > mel->floor ? sum : mel->floor);
  }
}

/* Utterances by their level. */
typedef struct st_endpointer {
  bool used, speaking;
  size_t block, quiet_blocks, blocks, quiet, filled;
  double energy, sum;
} st_endpointer;

static streaming_code st_endpointer_fill(st_endpointer *e, const st_json *task, double rate) {
  const st_json *spec = st_get(task, "endpoint");
  if (!spec) return STREAMING_OK;
  double silence = st_number(spec, "silence", 0.5), level = st_number(spec, "level", -40);
  e->used = true;
  e->block = (size_t)rate / 100;
  if (!e->block || !(silence > 0 && silence <= 86400) || !(level < 0 && level >= -400)) return st_wrong("task.endpoint");
  double blocks = rint(silence * rate / (double)e->block);
  e->quiet_blocks = blocks < 1 ? 1 : (size_t)blocks;
  e->energy = pow(10.0, level / 10.0);
  return STREAMING_OK;
}

/* Takes a sample; true where an utterance ends with it. */
static bool st_endpoint(st_endpointer *e, double sample) {
  e->sum += sample * sample;
  if (++e->filled < e->block) return false;
  bool loud = e->sum / (double)e->block > e->energy;
  e->sum = 0;
  e->filled = 0;
  e->blocks++;
  e->quiet = loud ? 0 : e->quiet + 1;
  if (loud) e->speaking = true;
  if (!e->speaking || e->quiet < e->quiet_blocks) return false;
  e->speaking = false;
  return true;
}

static void st_endpointer_reset(st_endpointer *e) {
  e->speaking = false;
  e->blocks = e->quiet = e->filled = 0;
  e->sum = 0;
}
