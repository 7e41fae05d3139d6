// The C client for C++17: what is made is freed with its object, and a code that is not STREAMING_OK is an exception.
#ifndef STREAMING_HPP
#define STREAMING_HPP

#include <cstdint>
#include <functional>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "streaming.h"

namespace streaming {

class Error : public std::runtime_error {
 public:
  explicit Error(streaming_code code, const char* line = streaming_message()) : std::runtime_error(line), code(code) {}
  streaming_code code;
};

inline void check(streaming_code code) {
  if (code != STREAMING_OK) throw Error(code);
}

// Texts go on as C has them, which a zero ends.
inline const char* plain(const std::string& text) {
  if (text.find('\0') != std::string::npos) throw Error(STREAMING_INPUT, "a text holds U+0000; give another");
  return text.c_str();
}

inline void count(std::size_t given, std::size_t expected) {
  if (given != expected) throw Error(STREAMING_INPUT, "another number of inputs, sources or lengths than the model takes");
}

class Model {
 public:
  explicit Model(const std::string& path, const char* library = nullptr) {
    streaming_model* model = nullptr;
    check(streaming_open(plain(path), library, &model));
    model_.reset(model, streaming_close);
  }
  streaming_model* get() const { return model_.get(); }
  std::size_t chunk() const { return streaming_chunk(get()); }
  std::string fingerprint() const { return streaming_fingerprint(get()); }
  std::string task() const { return streaming_task(get()); }
  std::vector<streaming_tensor> inputs() const {
    std::vector<streaming_tensor> found;
    for (std::size_t i = 0; i < streaming_input_count(get()); i++) found.push_back(*streaming_input(get(), i));
    return found;
  }
  std::vector<streaming_tensor> outputs() const {
    std::vector<streaming_tensor> found;
    for (std::size_t i = 0; i < streaming_output_count(get()); i++) found.push_back(*streaming_output(get(), i));
    return found;
  }
  // Steps of an input that takes strings, in its type, as feed takes them.
  std::string string_steps(std::size_t input, const std::vector<const char*>& texts, std::size_t* length) const {
    check(streaming_string_steps(get(), input, texts.data(), texts.size(), nullptr, 0, length));
    std::string steps(*length * streaming_input(get(), input)->bytes, '\0');
    if (*length) check(streaming_string_steps(get(), input, texts.data(), texts.size(), steps.data(), *length, length));
    return steps;
  }
  std::string_view file(const std::string& name) const {
    const void* data = nullptr;
    std::size_t size = 0;
    check(streaming_file(get(), plain(name), &data, &size));
    return {static_cast<const char*>(data), size};
  }

 private:
  std::shared_ptr<streaming_model> model_;  // streams keep it
};

// sink(output, rows, count): rows that an invoke gave, valid during the call. It must not throw.
using Sink = std::function<void(std::size_t, const void*, std::size_t)>;

class Stream {
 public:
  explicit Stream(const Model& model) : model_(model) {
    streaming_stream* stream = nullptr;
    check(streaming_create(model.get(), &stream));
    stream_.reset(stream);
  }
  std::vector<streaming_rows> step(const std::vector<const void*>& given) {
    count(given.size(), inputs());
    std::vector<streaming_rows> rows(streaming_output_count(model_.get()));
    check(streaming_step(stream_.get(), given.data(), rows.data()));
    return rows;
  }
  void feed(const std::vector<const void*>& given, std::size_t steps, const Sink& sink) {
    count(given.size(), inputs());
    check(streaming_feed(stream_.get(), given.data(), steps, give, const_cast<Sink*>(&sink)));
  }
  void finish(const Sink& sink) { check(streaming_finish(stream_.get(), give, const_cast<Sink*>(&sink))); }
  void reset() { check(streaming_reset(stream_.get())); }
  void encode(const std::vector<const void*>& given, const std::vector<std::size_t>& lengths) {
    count(given.size(), sources());
    count(lengths.size(), sources());
    check(streaming_encode(stream_.get(), given.data(), lengths.data()));
  }
  std::string save() const {
    std::size_t size = 0;
    check(streaming_save(stream_.get(), nullptr, 0, &size));
    std::string blob(size, '\0');
    check(streaming_save(stream_.get(), blob.data(), size, &size));
    return blob;
  }
  void restore(std::string_view blob) { check(streaming_restore(stream_.get(), blob.data(), blob.size())); }
  Stream fork() const {
    Stream other(model_);
    check(streaming_copy(other.stream_.get(), stream_.get()));
    return other;
  }
  std::size_t position() const { return streaming_position(stream_.get()); }
  std::size_t inputs() const { return streaming_input_count(model_.get()); }
  std::size_t sources() const { return streaming_source_count(model_.get()); }

 private:
  struct Free {
    void operator()(streaming_stream* stream) const { streaming_free(stream); }
  };
  static void give(void* user, std::size_t output, const void* rows, std::size_t count) {
    (*static_cast<const Sink*>(user))(output, rows, count);
  }
  Model model_;
  std::unique_ptr<streaming_stream, Free> stream_;
};

// listener(event): what the task says; texts are valid during the call. It must not throw.
using Listener = std::function<void(const streaming_event&)>;

class Session {
 public:
  Session(const Model& model, Listener listener) : model_(model), listener_(std::make_unique<Listener>(std::move(listener))) {
    streaming_session* session = nullptr;
    check(streaming_session_open(model.get(), tell, listener_.get(), &session));
    session_.reset(session);
  }
  void word(const std::string& text) { check(streaming_session_word(session_.get(), plain(text))); }
  void row(const std::vector<double>& values) { check(streaming_session_row(session_.get(), values.data(), values.size())); }
  void samples(const std::vector<float>& values) {
    check(streaming_session_samples(session_.get(), values.data(), values.size()));
  }
  void text(const std::string& text, std::size_t limit = 0) { check(streaming_session_text(session_.get(), plain(text), limit)); }
  void array(const std::vector<double>& values) { check(streaming_session_array(session_.get(), values.data(), values.size())); }
  /* How a sketcher draws: NAN and 0 for the temperature and the limit of the file. */
  void drawing(double temperature, std::size_t limit = 0, std::uint32_t seed = 0) {
    check(streaming_session_drawing(session_.get(), temperature, limit, seed));
  }
  void finish() { check(streaming_session_finish(session_.get())); }

 private:
  struct Free {
    void operator()(streaming_session* session) const { streaming_session_free(session); }
  };
  static void tell(void* user, const streaming_event* event) { (*static_cast<Listener*>(user))(*event); }
  Model model_;
  std::unique_ptr<Listener> listener_;
  std::unique_ptr<streaming_session, Free> session_;
};

}  // namespace streaming
#endif
