// wrapper MODEL: the C++ classes on a model of one float input: pieces, forks, blobs, errors.
#include "streaming.hpp"

#include <cstdio>
#include <cstring>

int main(int count, char** arguments) {
  if (count != 2) return std::fprintf(stderr, "wrapper: expected MODEL\n"), 2;
  try {
    streaming::Model model(arguments[1]);
    auto input = model.inputs().at(0);
    std::vector<float> steps(13 * input.elements);
    for (std::size_t i = 0; i < steps.size(); i++) steps[i] = static_cast<float>(static_cast<int>(i * 37 % 101) - 50) / 50;
    std::string whole, pieces;
    auto into = [&](std::string& rows) {
      return [&](std::size_t output, const void* data, std::size_t n) {
        if (output == 0) rows.append(static_cast<const char*>(data), n * model.outputs().at(0).bytes);
      };
    };
    streaming::Stream first(model);
    first.feed({steps.data()}, 13, into(whole));
    first.finish(into(whole));
    streaming::Stream second(model);
    second.feed({steps.data()}, 5, into(pieces));
    streaming::Stream third = second.fork();
    second.reset();
    streaming::Stream fourth(model);
    fourth.restore(third.save());
    fourth.feed({steps.data() + 5 * input.elements}, 8, into(pieces));
    if (fourth.position() != 13) return 1;
    fourth.finish(into(pieces));
    if (whole.empty() || whole != pieces) return std::fprintf(stderr, "wrapper: the pieces differ\n"), 1;
    try {
      fourth.feed({steps.data()}, 1, into(pieces));
      return 1;
    } catch (const streaming::Error& error) {
      if (error.code != STREAMING_STATE || !*error.what()) return 1;
    }
    try {
      third.restore("no saved stream");
      return 1;
    } catch (const streaming::Error& error) {
      if (error.code != STREAMING_BLOB) return 1;
    }
    try {
      third.feed({}, 1, into(pieces));
      return 1;
    } catch (const streaming::Error& error) {
      if (error.code != STREAMING_INPUT || !*error.what()) return 1;
    }
    try {
      streaming::Model("/nowhere.tflite");
      return 1;
    } catch (const streaming::Error& error) {
      if (error.code != STREAMING_FILE) return 1;
    }
  } catch (const streaming::Error& error) {
    return std::fprintf(stderr, "wrapper: %s\n", error.what()), 1;
  }
  std::puts("ok");
  return 0;
}
