/* Streams of a streaming .tflite file (docs/format.md) on LiteRT's C API, for C11 and C++.
 *
 * Every call gives a code; streaming_message() has one line for the last one of this thread that was not STREAMING_OK: what
 * was expected, what came, what to do. No call crashes on a damaged file, a foreign blob, a wrong value or a wrong order.
 *
 * Threads: a model and all of its streams and sessions belong to one thread at a time. Open the file once a thread.
 * Memory: a stream has one arena, made with it; streaming_step, streaming_feed and streaming_finish allocate nothing.
 */
#ifndef STREAMING_H
#define STREAMING_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef enum streaming_code {
  STREAMING_OK = 0,
  STREAMING_ARGUMENT = 1, /* an argument is NULL or out of range */
  STREAMING_FILE = 2,     /* no streaming file, damaged, or it contradicts itself */
  STREAMING_VERSION = 3,  /* written by something newer */
  STREAMING_RUNTIME = 4,  /* LiteRT is missing, or it failed */
  STREAMING_MEMORY = 5,   /* an allocation failed; what was open goes on */
  STREAMING_INPUT = 6, /* a value or a number of values is wrong */
  STREAMING_STATE = 7, /* not allowed now: after finish, before encode, ... */
  STREAMING_BLOB = 8,  /* a saved stream is damaged, or of another model */
  STREAMING_TASK = 9   /* the file names no task, or one that this client does not have */
} streaming_code;

typedef enum streaming_type {
  STREAMING_FLOAT32 = 1,
  STREAMING_INT32 = 2,
  STREAMING_UINT8 = 3,
  STREAMING_INT64 = 4,
  STREAMING_BOOL = 6,
  STREAMING_INT16 = 7,
  STREAMING_INT8 = 9,
  STREAMING_FLOAT16 = 10,
  STREAMING_FLOAT64 = 11
} streaming_type;

/* An input or an output; type is the one at the boundary: truth values are int32, 0 or 1 (bool in files of old). */
typedef struct streaming_tensor {
  const char *name;
  streaming_type type;
  size_t rank, shape[8]; /* of one step or row */
  size_t elements, bytes;
  int time;           /* an input with steps; 0: one value, given with each call */
  int strings;        /* an input whose steps streaming_string_steps makes of strings */
  int has_low, has_high;
  int64_t low, high; /* low <= value < high */
  double scale;      /* 0: none; else the number is scale * (value - zero_point) */
  int64_t zero_point;
  size_t up, down; /* an output has up rows for down steps */
} streaming_tensor;

typedef struct streaming_model streaming_model;
typedef struct streaming_stream streaming_stream;
typedef struct streaming_session streaming_session;

const char *streaming_message(void);

/* library: path of libLiteRt.so; NULL takes the environment variable STREAMING_LITERT, else the loader's own paths. */
streaming_code streaming_open(const char *path, const char *library, streaming_model **model);
streaming_code streaming_open_memory(const void *data, size_t size, const char *library, streaming_model **model);
/* Its memory is freed when it is closed and the last of its streams and sessions is free. NULL is fine, here and in the other calls
   that free. */
void streaming_close(streaming_model *model);

size_t streaming_input_count(const streaming_model *model);
size_t streaming_output_count(const streaming_model *model);
const streaming_tensor *streaming_input(const streaming_model *model, size_t index); /* NULL: no such one */
const streaming_tensor *streaming_output(const streaming_model *model, size_t index);
/* What a stream is given whole before its first step; 0 for most models. */
size_t streaming_source_count(const streaming_model *model);
const streaming_tensor *streaming_source(const streaming_model *model, size_t index);
size_t streaming_source_length(const streaming_model *model); /* most positions */
size_t streaming_chunk(const streaming_model *model);         /* steps of streaming_step */
size_t streaming_delay(const streaming_model *model);
size_t streaming_window(const streaming_model *model); /* 0: state is carried */
size_t streaming_hop(const streaming_model *model);
const char *streaming_fingerprint(const streaming_model *model);
const char *streaming_task(const streaming_model *model); /* its kind, "" for none */
double streaming_sample_rate(const streaming_model *model);
/* An associated file; valid while the model is. */
streaming_code streaming_file(const streaming_model *model, const char *name, const void **data, size_t *size);

/* Rows that an invoke gave; valid during the call. */
typedef void (*streaming_sink)(void *user, size_t output, const void *rows, size_t count);

typedef struct streaming_rows {
  const void *data; /* valid until the next call of the stream */
  size_t count;
} streaming_rows;

streaming_code streaming_create(streaming_model *model, streaming_stream **stream);
void streaming_free(streaming_stream *stream);
/* The model that a stream was made of. */
streaming_model *streaming_model_of(const streaming_stream *stream);
streaming_code streaming_reset(streaming_stream *stream);
/* 1: take NaN and infinity, which are refused otherwise. */
void streaming_allow_nan(streaming_stream *stream, int allow);
/* Exactly streaming_chunk() steps: inputs[i] has them for input i, rows[o] gets those of output o. */
streaming_code streaming_step(streaming_stream *stream, const void *const *inputs, streaming_rows *rows);
/* Any number of steps. Where the runtime fails, the stream stands after the last invoke that did not: reset it. */
streaming_code streaming_feed(streaming_stream *stream, const void *const *inputs, size_t steps, streaming_sink sink,
                              void *user);
streaming_code streaming_finish(streaming_stream *stream, streaming_sink sink, void *user);
/* lengths[i]: positions of source i, ignored for those of fixed shape. */
streaming_code streaming_encode(streaming_stream *stream, const void *const *sources, const size_t *lengths);
/* Steps taken since the start. */
size_t streaming_position(const streaming_stream *stream);

/* The bytes of a saved stream, the same that `Stream.save` writes. size gets their number; data may be NULL to ask. */
streaming_code streaming_save(const streaming_stream *stream, void *data, size_t capacity, size_t *size);
/* Go on where a stream of this model was saved; this one is as it was where that fails. */
streaming_code streaming_restore(streaming_stream *stream, const void *data, size_t size);
/* Make a stream the same as another of its model. */
streaming_code streaming_copy(streaming_stream *to, const streaming_stream *from);

/* Text to ids: input is "words", "chars" or "affixes"; gives 1, max_word_length or 8 ids. */
streaming_code streaming_word_ids(streaming_model *model, const char *word, const char *input, int32_t *ids,
                                  size_t capacity, size_t *count);
/* codec: "source.json" or "target.json". */
streaming_code streaming_text_ids(streaming_model *model, const char *codec, const char *text, int32_t *ids,
                                  size_t capacity, size_t *count);

/* Strings to steps of an input, for models that begin with a lookup: of words one a step (or as many as it has elements), of texts
   their tokens, a step each, or one step a text. length gets the number of steps; steps may be NULL to ask. */
streaming_code streaming_string_steps(const streaming_model *model, size_t input, const char *const *texts, size_t count, void *steps,
                                      size_t capacity, size_t *length);

/* What a task says. Fields that an event does not have are 0 or NULL; texts are valid during the call. */
typedef struct streaming_event {
  const char *event; /* taggedword, prediction, taggedrow, forecast, anomaly, keyword, utterance, token, transcript,
                        text, piece, translatedword, point */
  const char *text;  /* word of a taggedword; label of a prediction, keyword or utterance; text or word otherwise */
  const char *tag;
  double score, error, time, begin, end;
  int has_time;
  size_t row, read;
  int alarm;
  const double *values; /* of a forecast: horizon, targets, quantiles, the last axis fastest */
  size_t horizon, targets, quantiles, middle;
  const char *const *labels; /* of a prediction: all that hold, where several may */
  size_t label_count;
  double dx, dy; /* of a point: the movement to it, whether it is the last of its stroke, and of the drawing */
  int lift, ends;
} streaming_event;

typedef void (*streaming_listener)(void *user, const streaming_event *event);

streaming_code streaming_session_open(streaming_model *model, streaming_listener listener, void *user,
                                      streaming_session **session);
void streaming_session_free(streaming_session *session);
/* A word of a sentence: tagger, classifier. */
streaming_code streaming_session_word(streaming_session *session, const char *word);
/* A row of numbers, as many as the input has elements, or half as many where the task masks missing values, which are NaN where the
   task drops, holds or interpolates them: classifier, sequence_tagger, forecaster, anomaly_detector; sketcher (the beginning of a
   drawing: dx, dy, lift; 0, 0, 1 begins a new one). */
streaming_code streaming_session_row(streaming_session *session, const double *row, size_t count);
/* Samples between -1 and 1: keyword_spotter, transcriber. */
streaming_code streaming_session_samples(streaming_session *session, const float *samples, size_t count);
/* A whole text: translator; generator (the most probable pieces, limit of them at most, 0 for the file's limit). */
streaming_code streaming_session_text(streaming_session *session, const char *text, size_t limit);
/* A whole array: captioner. */
streaming_code streaming_session_array(streaming_session *session, const double *values, size_t count);
/* How a sketcher draws from now on. temperature: 0 draws the most probable, NAN as the file says; limit: most points, 0 for the file's;
   seed: the same one gives the same drawings, one after the other (0 where this was not called). */
streaming_code streaming_session_drawing(streaming_session *session, double temperature, size_t limit, uint32_t seed);
/* The end of a sequence; what comes next begins another. A sketcher gives the points that follow the beginning. */
streaming_code streaming_session_finish(streaming_session *session);

#ifdef __cplusplus
}
#endif
#endif
