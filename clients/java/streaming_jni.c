/* The native methods of the package `streaming`, over the C client. */
#include <jni.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "streaming.h"

#define CALL(type, class, name) JNIEXPORT type JNICALL Java_streaming_##class##_##name

static void refuse(JNIEnv *env, streaming_code code, const char *line) {
  if ((*env)->ExceptionCheck(env)) return;
  jclass kind = (*env)->FindClass(env, "streaming/StreamingException");
  if (!kind) return;
  jmethodID make = (*env)->GetMethodID(env, kind, "<init>", "(ILjava/lang/String;)V");
  char plain[320]; /* NewStringUTF takes no more than ASCII as it is */
  size_t i = 0;
  for (; line[i] && i < sizeof plain - 1; i++) plain[i] = (signed char)line[i] < 0 ? '?' : line[i];
  plain[i] = 0;
  jstring text = (*env)->NewStringUTF(env, plain);
  jobject error = text ? (*env)->NewObject(env, kind, make, (jint)code, text) : NULL;
  if (error) (*env)->Throw(env, error);
}

static int check(JNIEnv *env, streaming_code code) {
  if (code != STREAMING_OK) refuse(env, code, streaming_message());
  return code == STREAMING_OK && !(*env)->ExceptionCheck(env);
}

static jbyteArray bytes_of(JNIEnv *env, const void *data, size_t size) {
  jbyteArray found = (*env)->NewByteArray(env, (jsize)size);
  if (found) (*env)->SetByteArrayRegion(env, found, 0, (jsize)size, data);
  return found;
}

static jbyteArray text_of(JNIEnv *env, const char *text) { return text ? bytes_of(env, text, strlen(text)) : NULL; }

CALL(jlong, Model, open)(JNIEnv *env, jclass self, jbyteArray path, jbyteArray library) {
  (void)self;
  streaming_model *model = NULL;
  jbyte *name = (*env)->GetByteArrayElements(env, path, NULL), *lib = library ? (*env)->GetByteArrayElements(env, library, NULL) : NULL;
  if (name) check(env, streaming_open((const char *)name, (const char *)lib, &model));
  if (name) (*env)->ReleaseByteArrayElements(env, path, name, JNI_ABORT);
  if (lib) (*env)->ReleaseByteArrayElements(env, library, lib, JNI_ABORT);
  return (jlong)(intptr_t)model;
}

#define MODEL ((streaming_model *)(intptr_t)model)
#define STREAM ((streaming_stream *)(intptr_t)stream)

CALL(void, Model, close)(JNIEnv *env, jclass self, jlong model) {
  (void)env, (void)self;
  streaming_close(MODEL);
}

CALL(jdouble, Model, number)(JNIEnv *env, jclass self, jlong model, jint which) {
  (void)env, (void)self;
  switch (which) {
    case 0:
      return (jdouble)streaming_chunk(MODEL);
    case 1:
      return (jdouble)streaming_delay(MODEL);
    case 2:
      return (jdouble)streaming_window(MODEL);
    case 3:
      return (jdouble)streaming_input_count(MODEL);
    case 4:
      return (jdouble)streaming_output_count(MODEL);
    default:
      return streaming_sample_rate(MODEL);
  }
}

CALL(jlong, Model, tensor)(JNIEnv *env, jclass self, jlong model, jint index, jboolean output) {
  (void)self;
  const streaming_tensor *info = index < 0 ? NULL : output ? streaming_output(MODEL, (size_t)index) : streaming_input(MODEL, (size_t)index);
  if (!info) refuse(env, STREAMING_ARGUMENT, "there is no tensor of that number");
  return info ? (jlong)info->elements : 0;
}

CALL(jlong, Model, type)(JNIEnv *env, jclass self, jlong model, jint index, jboolean output) {
  (void)self;
  const streaming_tensor *info = index < 0 ? NULL : output ? streaming_output(MODEL, (size_t)index) : streaming_input(MODEL, (size_t)index);
  if (!info) refuse(env, STREAMING_ARGUMENT, "there is no tensor of that number");
  return info ? (jlong)info->type : 0;
}

CALL(jbyteArray, Model, name)(JNIEnv *env, jclass self, jlong model, jboolean fingerprint) {
  (void)self;
  return text_of(env, fingerprint ? streaming_fingerprint(MODEL) : streaming_task(MODEL));
}

CALL(jbyteArray, Model, file)(JNIEnv *env, jclass self, jlong model, jbyteArray name) {
  (void)self;
  const void *data = NULL;
  size_t size = 0;
  jbyte *text = (*env)->GetByteArrayElements(env, name, NULL);
  int good = text && check(env, streaming_file(MODEL, (const char *)text, &data, &size));
  if (text) (*env)->ReleaseByteArrayElements(env, name, text, JNI_ABORT);
  return good ? bytes_of(env, data, size) : NULL;
}

CALL(jobject, Model, strings)(JNIEnv *env, jclass self, jlong model, jint input, jobjectArray texts) {
  (void)self;
  size_t count = (size_t)(*env)->GetArrayLength(env, texts), length = 0;
  const streaming_tensor *info = input < 0 ? NULL : streaming_input(MODEL, (size_t)input);
  char **copies = calloc(count + 1, sizeof *copies);
  int good = copies != NULL;
  for (size_t i = 0; good && i < count; i++) {
    jbyteArray text = (*env)->GetObjectArrayElement(env, texts, (jsize)i);
    jsize size = (*env)->GetArrayLength(env, text);
    copies[i] = malloc((size_t)size + 1);
    good = copies[i] != NULL;
    if (good) (*env)->GetByteArrayRegion(env, text, 0, size, (jbyte *)copies[i]);
    (*env)->DeleteLocalRef(env, text);
  }
  void *steps = NULL;
  jobject found = NULL;
  if (!good) refuse(env, STREAMING_MEMORY, "the memory is full");
  good = good && check(env, streaming_string_steps(MODEL, info ? (size_t)input : 64, (const char *const *)copies, count, NULL, 0, &length));
  if (good && !(steps = calloc(length * info->elements + 1, 8))) refuse(env, STREAMING_MEMORY, "the memory is full");
  if (steps && check(env, streaming_string_steps(MODEL, (size_t)input, (const char *const *)copies, count, steps, length, &length))) {
    jsize size = (jsize)(length * info->elements);
    found = info->type == STREAMING_INT64 ? (jobject)(*env)->NewLongArray(env, size) : (jobject)(*env)->NewIntArray(env, size);
    if (found && info->type == STREAMING_INT64) (*env)->SetLongArrayRegion(env, found, 0, size, steps);
    if (found && info->type == STREAMING_INT32) (*env)->SetIntArrayRegion(env, found, 0, size, steps);
  }
  for (size_t i = 0; copies && i < count; i++) free(copies[i]);
  free(copies);
  free(steps);
  return found;
}

CALL(jboolean, Model, takesStrings)(JNIEnv *env, jclass self, jlong model, jint input) {
  (void)env, (void)self;
  const streaming_tensor *info = input < 0 ? NULL : streaming_input(MODEL, (size_t)input);
  return info && info->strings;
}

CALL(jintArray, Model, outputShape)(JNIEnv *env, jclass self, jlong model, jint output) {
  (void)self;
  const streaming_tensor *info = output < 0 ? NULL : streaming_output(MODEL, (size_t)output);
  if (!info) refuse(env, STREAMING_ARGUMENT, "there is no tensor of that number");
  jintArray found = info ? (*env)->NewIntArray(env, (jsize)info->rank) : NULL;
  for (size_t i = 0; found && i < info->rank; i++) (*env)->SetIntArrayRegion(env, found, (jsize)i, 1, &(jint){(jint)info->shape[i]});
  return found;
}

CALL(jbyteArray, Model, outputName)(JNIEnv *env, jclass self, jlong model, jint output) {
  (void)self;
  const streaming_tensor *info = output < 0 ? NULL : streaming_output(MODEL, (size_t)output);
  return text_of(env, info ? info->name : NULL);
}

CALL(jlong, Stream, create)(JNIEnv *env, jclass self, jlong model) {
  (void)self;
  streaming_stream *stream = NULL;
  check(env, streaming_create(MODEL, &stream));
  return (jlong)(intptr_t)stream;
}

CALL(void, Stream, free)(JNIEnv *env, jclass self, jlong stream) {
  (void)env, (void)self;
  streaming_free(STREAM);
}

/* Copies of Java arrays whose types and lengths are those of tensors. */
typedef struct arrays {
  void *data[64];
  size_t count;
} arrays;

static void drop(arrays *a) {
  for (size_t i = 0; i < a->count; i++) free(a->data[i]);
}

static int copy(JNIEnv *env, arrays *to, jobject array, const streaming_tensor *info, size_t expected) {
  static const struct {
    const char *name;
    size_t size;
  } kinds[] = {{"[F", 4}, {"[I", 4}, {"[J", 8}, {"[B", 1}, {"[S", 2}, {"[Z", 1}, {"[D", 8}};
  int kind = info->type == STREAMING_FLOAT32 ? 0 : info->type == STREAMING_INT32 ? 1 : info->type == STREAMING_INT64 ? 2 : info->type == STREAMING_INT16 ? 4 : info->type == STREAMING_BOOL ? 5 : info->type == STREAMING_FLOAT64 ? 6 : 3;
  if (info->type == STREAMING_FLOAT16) {
    refuse(env, STREAMING_FILE, "an input is float16, which Java does not have; convert the model again");
    return 0;
  }
  jclass wanted = (*env)->FindClass(env, kinds[kind].name);
  if (!wanted) return 0; /* with an OutOfMemoryError, here and below */
  if (!array || !(*env)->IsInstanceOf(env, array, wanted) || (size_t)(*env)->GetArrayLength(env, array) != expected) {
    refuse(env, STREAMING_INPUT, "an input is an array of another type or length than its steps; see Model.inputElements");
    return 0;
  }
  void *data = to->data[to->count] = malloc(expected * kinds[kind].size + 1);
  if (!data) {
    refuse(env, STREAMING_MEMORY, "the memory is full");
    return 0;
  }
  to->count++;
  if (kind == 0) (*env)->GetFloatArrayRegion(env, array, 0, (jsize)expected, data);
  if (kind == 1) (*env)->GetIntArrayRegion(env, array, 0, (jsize)expected, data);
  if (kind == 2) (*env)->GetLongArrayRegion(env, array, 0, (jsize)expected, data);
  if (kind == 3) (*env)->GetByteArrayRegion(env, array, 0, (jsize)expected, data);
  if (kind == 4) (*env)->GetShortArrayRegion(env, array, 0, (jsize)expected, data);
  if (kind == 5) (*env)->GetBooleanArrayRegion(env, array, 0, (jsize)expected, data);
  if (kind == 6) (*env)->GetDoubleArrayRegion(env, array, 0, (jsize)expected, data);
  return 1;
}

typedef struct rows {
  const streaming_model *model;
  float *data[64];
  size_t count[64];
  int full;
} rows;

static float value_of(streaming_type type, const void *data, size_t i) {
  switch (type) {
    case STREAMING_FLOAT32:
      return ((const float *)data)[i];
    case STREAMING_FLOAT64:
      return (float)((const double *)data)[i];
    case STREAMING_INT32:
      return (float)((const int32_t *)data)[i];
    case STREAMING_INT64:
      return (float)((const int64_t *)data)[i];
    case STREAMING_INT16:
      return ((const int16_t *)data)[i];
    case STREAMING_INT8:
      return ((const int8_t *)data)[i];
    default:
      return ((const uint8_t *)data)[i];
  }
}

static void take(void *user, size_t output, const void *data, size_t count) {
  rows *to = user;
  const streaming_tensor *info = streaming_output(to->model, output);
  size_t more = count * info->elements;
  float *grown = realloc(to->data[output], (to->count[output] + more + 1) * sizeof *grown);
  if (!grown) {
    to->full = 1;
    return;
  }
  to->data[output] = grown;
  for (size_t i = 0; i < more; i++) grown[to->count[output] + i] = value_of(info->type, data, i);
  to->count[output] += more;
}

CALL(jobjectArray, Stream, run)(JNIEnv *env, jclass self, jlong stream, jint how, jobjectArray inputs, jint steps) {
  (void)self;
  const streaming_model *model = streaming_model_of(STREAM);
  size_t given = (size_t)(*env)->GetArrayLength(env, inputs);
  arrays copies = {{0}, 0};
  rows found = {model, {0}, {0}, 0};
  int good = steps >= 0 && (how == 2 || given == streaming_input_count(model));
  if (!good) refuse(env, STREAMING_INPUT, "another number of inputs or steps than the model takes");
  for (size_t i = 0; good && how != 2 && i < given; i++) {
    const streaming_tensor *info = streaming_input(model, i);
    jobject array = (*env)->GetObjectArrayElement(env, inputs, (jsize)i);
    good = copy(env, &copies, array, info, info->elements * (info->time ? (size_t)steps : 1));
    (*env)->DeleteLocalRef(env, array);
  }
  const void *const *x = (const void *const *)copies.data;
  if (good && how == 0) {
    streaming_rows kept[64];
    good = check(env, streaming_step(STREAM, x, kept));
    for (size_t o = 0; good && o < streaming_output_count(model); o++)
      if (kept[o].count) take(&found, o, kept[o].data, kept[o].count);
  } else if (good) {
    good = check(env, how == 1 ? streaming_feed(STREAM, x, (size_t)steps, take, &found) : streaming_finish(STREAM, take, &found));
  }
  if (found.full) refuse(env, STREAMING_MEMORY, "the memory is full");
  jclass kind = good && !found.full ? (*env)->FindClass(env, "[F") : NULL;
  jobjectArray result = kind ? (*env)->NewObjectArray(env, (jsize)streaming_output_count(model), kind, NULL) : NULL;
  for (size_t o = 0; o < streaming_output_count(model); o++) {
    jfloatArray row = result ? (*env)->NewFloatArray(env, (jsize)found.count[o]) : NULL;
    if (row && found.count[o]) (*env)->SetFloatArrayRegion(env, row, 0, (jsize)found.count[o], found.data[o]);
    if (row) (*env)->SetObjectArrayElement(env, result, (jsize)o, row);
    if (!row) result = NULL;
    free(found.data[o]);
  }
  drop(&copies);
  return result;
}

CALL(void, Stream, encode)(JNIEnv *env, jclass self, jlong stream, jobjectArray sources, jlongArray lengths) {
  (void)self;
  const streaming_model *model = streaming_model_of(STREAM);
  size_t given = (size_t)(*env)->GetArrayLength(env, sources), counts[64];
  arrays copies = {{0}, 0};
  int good = given == streaming_source_count(model) && given == (size_t)(*env)->GetArrayLength(env, lengths);
  if (!good) refuse(env, STREAMING_INPUT, "another number of sources or lengths than the model takes");
  for (size_t i = 0; good && i < given; i++) {
    jlong length = 0;
    (*env)->GetLongArrayRegion(env, lengths, (jsize)i, 1, &length);
    const streaming_tensor *info = streaming_source(model, i);
    counts[i] = length < 0 ? 0 : (size_t)length;
    jobject array = (*env)->GetObjectArrayElement(env, sources, (jsize)i);
    good = copy(env, &copies, array, info, info->elements * (info->time ? counts[i] : 1));
    (*env)->DeleteLocalRef(env, array);
  }
  if (good) check(env, streaming_encode(STREAM, (const void *const *)copies.data, counts));
  drop(&copies);
}

CALL(void, Stream, reset)(JNIEnv *env, jclass self, jlong stream) {
  (void)self;
  check(env, streaming_reset(STREAM));
}

CALL(jlong, Stream, position)(JNIEnv *env, jclass self, jlong stream) {
  (void)env, (void)self;
  return (jlong)streaming_position(STREAM);
}

CALL(jbyteArray, Stream, save)(JNIEnv *env, jclass self, jlong stream) {
  (void)self;
  size_t size = 0;
  if (!check(env, streaming_save(STREAM, NULL, 0, &size))) return NULL;
  void *blob = malloc(size);
  jbyteArray found = NULL;
  if (blob && check(env, streaming_save(STREAM, blob, size, &size))) found = bytes_of(env, blob, size);
  if (!blob) refuse(env, STREAMING_MEMORY, "the memory is full");
  free(blob);
  return found;
}

CALL(void, Stream, restore)(JNIEnv *env, jclass self, jlong stream, jbyteArray blob) {
  (void)self;
  jbyte *data = blob ? (*env)->GetByteArrayElements(env, blob, NULL) : NULL;
  check(env, streaming_restore(STREAM, data, data ? (size_t)(*env)->GetArrayLength(env, blob) : 0));
  if (data) (*env)->ReleaseByteArrayElements(env, blob, data, JNI_ABORT);
}

/* A session, and where its events go while a call runs. */
typedef struct held {
  streaming_session *session;
  JNIEnv *env;
  jobject self;
} held;

static jobjectArray texts_of(JNIEnv *env, const char *const *texts, size_t count) {
  jclass kind = (*env)->FindClass(env, "[B");
  jobjectArray found = kind ? (*env)->NewObjectArray(env, (jsize)count, kind, NULL) : NULL;
  for (size_t i = 0; found && i < count; i++) {
    jbyteArray text = text_of(env, texts[i]);
    if (texts[i] && !text) return NULL;
    (*env)->SetObjectArrayElement(env, found, (jsize)i, text);
    if (text) (*env)->DeleteLocalRef(env, text);
  }
  return found;
}

static jdoubleArray doubles_of(JNIEnv *env, const double *values, size_t count) {
  jdoubleArray found = (*env)->NewDoubleArray(env, (jsize)count);
  if (found && count) (*env)->SetDoubleArrayRegion(env, found, 0, (jsize)count, values);
  return found;
}

static void tell(void *user, const streaming_event *e) {
  held *to = user;
  JNIEnv *env = to->env;
  if ((*env)->ExceptionCheck(env) || (*env)->PushLocalFrame(env, 64)) return;
  jmethodID add = (*env)->GetMethodID(env, (*env)->GetObjectClass(env, to->self), "add", "([[B[D[D[[B)V");
  jobject parts[4] = {NULL};
  const char *texts[] = {e->event, e->text, e->tag};
  double numbers[] = {e->score, e->error, e->has_time ? e->time : NAN, e->begin, e->end, (double)e->row, (double)e->read, e->alarm, (double)e->horizon, (double)e->targets, (double)e->quantiles, (double)e->middle, e->dx, e->dy, e->lift, e->ends};
  size_t count = e->values ? e->horizon * e->targets * e->quantiles : 0;
  int good = add && (parts[0] = texts_of(env, texts, 3)) && (parts[1] = doubles_of(env, numbers, sizeof numbers / sizeof *numbers)) &&
             (parts[2] = doubles_of(env, e->values, count)) && (parts[3] = texts_of(env, e->labels, e->label_count));
  if (good) (*env)->CallVoidMethod(env, to->self, add, parts[0], parts[1], parts[2], parts[3]);
  (*env)->PopLocalFrame(env, NULL);
}

static streaming_session *begin(JNIEnv *env, jobject self, jlong session) {
  held *h = (held *)(intptr_t)session;
  h->env = env;
  h->self = self;
  return h->session;
}

CALL(jlong, Session, open)(JNIEnv *env, jobject self, jlong model) {
  (void)self;
  held *h = calloc(1, sizeof *h);
  if (!h) refuse(env, STREAMING_MEMORY, "the memory is full");
  if (h && !check(env, streaming_session_open(MODEL, tell, h, &h->session))) {
    free(h);
    h = NULL;
  }
  return (jlong)(intptr_t)h;
}

CALL(void, Session, free)(JNIEnv *env, jobject self, jlong session) {
  (void)env, (void)self;
  held *h = (held *)(intptr_t)session;
  if (h) streaming_session_free(h->session);
  free(h);
}

CALL(void, Session, word)(JNIEnv *env, jobject self, jlong session, jbyteArray word) {
  jbyte *text = (*env)->GetByteArrayElements(env, word, NULL);
  if (text) check(env, streaming_session_word(begin(env, self, session), (const char *)text));
  if (text) (*env)->ReleaseByteArrayElements(env, word, text, JNI_ABORT);
}

CALL(void, Session, text)(JNIEnv *env, jobject self, jlong session, jbyteArray text, jint limit) {
  jbyte *data = (*env)->GetByteArrayElements(env, text, NULL);
  if (data) check(env, streaming_session_text(begin(env, self, session), (const char *)data, limit < 0 ? 0 : (size_t)limit));
  if (data) (*env)->ReleaseByteArrayElements(env, text, data, JNI_ABORT);
}

CALL(void, Session, row)(JNIEnv *env, jobject self, jlong session, jdoubleArray row) {
  jdouble *data = row ? (*env)->GetDoubleArrayElements(env, row, NULL) : NULL;
  check(env, streaming_session_row(begin(env, self, session), data, data ? (size_t)(*env)->GetArrayLength(env, row) : 0));
  if (data) (*env)->ReleaseDoubleArrayElements(env, row, data, JNI_ABORT);
}

CALL(void, Session, array)(JNIEnv *env, jobject self, jlong session, jdoubleArray values) {
  jdouble *data = values ? (*env)->GetDoubleArrayElements(env, values, NULL) : NULL;
  check(env, streaming_session_array(begin(env, self, session), data, data ? (size_t)(*env)->GetArrayLength(env, values) : 0));
  if (data) (*env)->ReleaseDoubleArrayElements(env, values, data, JNI_ABORT);
}

CALL(void, Session, samples)(JNIEnv *env, jobject self, jlong session, jfloatArray samples, jint count) {
  jfloat *data = samples ? (*env)->GetFloatArrayElements(env, samples, NULL) : NULL;
  if (data && (count < 0 || count > (*env)->GetArrayLength(env, samples)))
    refuse(env, STREAMING_INPUT, "there are fewer samples than count says");
  else
    check(env, streaming_session_samples(begin(env, self, session), data, data ? (size_t)count : 1));
  if (data) (*env)->ReleaseFloatArrayElements(env, samples, data, JNI_ABORT);
}

CALL(void, Session, drawing)(JNIEnv *env, jobject self, jlong session, jdouble temperature, jint limit, jlong seed) {
  if (limit < 0 || seed < 0 || seed > UINT32_MAX)
    refuse(env, STREAMING_INPUT, "limit or seed is wrong, expected a limit of 0 or more and a seed from 0 to 4294967295");
  else
    check(env, streaming_session_drawing(begin(env, self, session), temperature, (size_t)limit, (uint32_t)seed));
}

CALL(void, Session, finish)(JNIEnv *env, jobject self, jlong session) { check(env, streaming_session_finish(begin(env, self, session))); }
