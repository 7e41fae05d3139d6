/* bench MODEL [ROUNDS]: microseconds of streaming_step, and of the bare invoke of LiteRT beneath it, in turns; JSON. Each is the least
 * of many short rounds, which a busy machine does not interrupt. */
#include "../streaming.c"

#include <time.h>

#define STEPS 50

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

int main(int count, char **arguments) {
  if (count < 2) return fprintf(stderr, "bench: expected MODEL [ROUNDS]\n"), 2;
  int rounds = count > 2 ? atoi(arguments[2]) : 400;
  streaming_model *m;
  streaming_stream *s;
  if (streaming_open(arguments[1], NULL, &m) || streaming_create(m, &s) || m->source_count) return fprintf(stderr, "bench: %s\n", streaming_message()), 1;
  const void *inputs[ST_MAX_TENSORS];
  streaming_rows rows[ST_MAX_TENSORS];
  for (size_t i = 0; i < m->input_count; i++) inputs[i] = calloc(m->chunk, m->inputs[i].info.bytes + 8);
  st_run *run = m->chunk == m->unit ? &s->step : &s->steps;
  const st_signature *signature = run->signature;
  double step = INFINITY, invoke = INFINITY;
  for (int round = 0; round < rounds; round++) {
    double begin = now();
    for (int i = 0; i < STEPS; i++)
      if (streaming_step(s, inputs, rows)) return fprintf(stderr, "bench: %s\n", streaming_message()), 1;
    double middle = now();
    /* The states of the stream, always from one buffer to the other. */
    for (size_t i = 0; i < signature->inputs; i++)
      if (signature->in[i].role == ST_STATE) run->in[i] = s->states[0][signature->in[i].index];
    for (size_t i = 0; i < signature->outputs; i++)
      if (signature->out[i].role == ST_STATE) run->out[i] = s->states[1][signature->out[i].index];
    double again = now();
    for (int i = 0; i < STEPS; i++)
      if (m->lib.RunCompiledModel(m->compiled, signature->index, signature->inputs, run->in, signature->outputs, run->out)) return 1;
    double end = now();
    for (size_t i = 0; i < signature->inputs; i++)
      if (signature->in[i].role == ST_STATE) run->in[i] = NULL;
    for (size_t i = 0; i < signature->outputs; i++)
      if (signature->out[i].role == ST_STATE) run->out[i] = NULL;
    step = fmin(step, (middle - begin) / STEPS);
    invoke = fmin(invoke, (end - again) / STEPS);
  }
  printf("{\"step\": %.3f, \"invoke\": %.3f}\n", step, invoke);
  for (size_t i = 0; i < m->input_count; i++) free((void *)inputs[i]);
  streaming_free(s);
  streaming_close(m);
  return 0;
}
