// The calls of tests/vectors.c by way of the C++ classes; handles are the objects, errors their codes.
#include <cstring>
#include <map>

#include "streaming.hpp"

extern "C" {
#include "wrapped.h"
}

namespace {

using streaming::Model;
using streaming::Session;
using streaming::Stream;

std::map<const streaming_model*, Model> models;

template <typename Call>
streaming_code code_of(Call call) {
  try {
    call();
  } catch (const streaming::Error& error) {
    return error.code;
  }
  return STREAMING_OK;
}

Stream& of(streaming_stream* stream) { return *reinterpret_cast<Stream*>(stream); }
const Stream& of(const streaming_stream* stream) { return *reinterpret_cast<const Stream*>(stream); }
Session& of(streaming_session* session) { return *reinterpret_cast<Session*>(session); }

}  // namespace

streaming_code wrapped_open(const char* path, const char* library, streaming_model** model) {
  return code_of([&] {
    Model made(path, library);
    *model = made.get();
    models.emplace(made.get(), made);
  });
}

void wrapped_close(streaming_model* model) { models.erase(model); }

streaming_code wrapped_create(streaming_model* model, streaming_stream** stream) {
  return code_of([&] { *stream = reinterpret_cast<streaming_stream*>(new Stream(models.at(model))); });
}

void wrapped_free(streaming_stream* stream) { delete &of(stream); }

streaming_code wrapped_feed(streaming_stream* stream, const void* const* inputs, size_t steps, streaming_sink sink, void* user) {
  // The class takes as many inputs as the model has; those beyond are not looked at.
  std::vector<const void*> given(inputs, inputs + of(stream).inputs());
  return code_of([&] { of(stream).feed(given, steps, [&](size_t output, const void* rows, size_t count) { sink(user, output, rows, count); }); });
}

streaming_code wrapped_finish(streaming_stream* stream, streaming_sink sink, void* user) {
  return code_of([&] { of(stream).finish([&](size_t output, const void* rows, size_t count) { sink(user, output, rows, count); }); });
}

streaming_code wrapped_encode(streaming_stream* stream, const void* const* sources, const size_t* lengths) {
  size_t count = of(stream).sources();
  std::vector<const void*> given(sources, sources + count);
  return code_of([&] { of(stream).encode(given, {lengths, lengths + count}); });
}

size_t wrapped_position(const streaming_stream* stream) { return of(stream).position(); }

streaming_code wrapped_save(const streaming_stream* stream, void* data, size_t capacity, size_t* size) {
  return code_of([&] {
    std::string blob = of(stream).save();
    *size = blob.size();
    if (data && capacity >= blob.size()) std::memcpy(data, blob.data(), blob.size());
  });
}

streaming_code wrapped_restore(streaming_stream* stream, const void* data, size_t size) {
  return code_of([&] { of(stream).restore({static_cast<const char*>(data), size}); });
}

streaming_code wrapped_string_steps(const streaming_model* model, size_t input, const char* const* texts, size_t count, void* steps,
                                    size_t capacity, size_t* length) {
  return code_of([&] {
    std::string found = models.at(model).string_steps(input, {texts, texts + count}, length);
    if (steps && *length <= capacity) std::memcpy(steps, found.data(), found.size());
  });
}

streaming_code wrapped_session_open(streaming_model* model, streaming_listener listener, void* user, streaming_session** session) {
  return code_of([&] {
    auto tell = [=](const streaming_event& event) { listener(user, &event); };
    *session = reinterpret_cast<streaming_session*>(new Session(models.at(model), tell));
  });
}

void wrapped_session_free(streaming_session* session) { delete &of(session); }
streaming_code wrapped_session_word(streaming_session* session, const char* word) {
  return code_of([&] { of(session).word(word); });
}
streaming_code wrapped_session_row(streaming_session* session, const double* row, size_t count) {
  return code_of([&] { of(session).row({row, row + count}); });
}
streaming_code wrapped_session_samples(streaming_session* session, const float* samples, size_t count) {
  return code_of([&] { of(session).samples({samples, samples + count}); });
}
streaming_code wrapped_session_text(streaming_session* session, const char* text, size_t limit) {
  return code_of([&] { of(session).text(text, limit); });
}
streaming_code wrapped_session_array(streaming_session* session, const double* values, size_t count) {
  return code_of([&] { of(session).array({values, values + count}); });
}
streaming_code wrapped_session_finish(streaming_session* session) {
  return code_of([&] { of(session).finish(); });
}
