"""The texts of the files that `streaming.firmware` writes: C++11 against TFLM's API, and a README."""

from __future__ import annotations

HEADER = """// {name}: one step of a stream. Made by `streaming micro`; the format is docs/micro.md of rnnzoo.
#ifndef STREAM_H_
#define STREAM_H_

#include <stdint.h>

// Bytes of the tensor arena that this model takes, measured on a 64-bit machine.
constexpr int kStreamArenaBytes = {arena};
{scales}
// Sets the model up and begins a stream. False: the arena or the resolver is too small.
bool StreamSetup();

// Begins a stream anew.
void StreamReset();

// One step: {steps} row{plural} of each input. Outputs come {delay} steps after their inputs.{flush}
// False: {ids}the interpreter failed, and the state is as it was.
bool StreamStep({parameters});
{real_step}
#endif  // STREAM_H_
"""
SOURCE = """// Made by `streaming micro`.
#include "stream.h"

{math}#include <string.h>

#include "model_data.h"
#include "tensorflow/lite/micro/micro_interpreter.h"
#include "tensorflow/lite/micro/micro_mutable_op_resolver.h"
#include "tensorflow/lite/schema/schema_generated.h"

namespace {{

alignas(16) uint8_t arena[kStreamArenaBytes];
tflite::MicroMutableOpResolver<{count}> resolver;
tflite::MicroInterpreter* interpreter = nullptr;

// The states of the stream, in the order in which the model takes them.
{states}
{helpers}
}}  // namespace

bool StreamSetup() {{
  static bool added = false;
  if (!added) {{
{operations}
    added = true;
  }}
  static tflite::MicroInterpreter instance(tflite::GetModel(g_stream_model), resolver, arena, sizeof(arena));
  interpreter = &instance;
  StreamReset();
  return interpreter->AllocateTensors() == kTfLiteOk;
}}

void StreamReset() {{
{resets}
}}

bool StreamStep({parameters}) {{
{into}
  if (interpreter->Invoke() != kTfLiteOk) return false;
{out_of}
  return true;
}}
{real_body}"""
# The other form of a step where integers stand for real numbers.
REAL_STEP = """
// The same step in real numbers, which it rounds and clips on their way in.
bool StreamStepReal({parameters});
"""
REAL_BODY = """
bool StreamStepReal({parameters}) {{
{into}
  if (!StreamStep({arguments})) return false;
{out_of}
  return true;
}}
"""
QUANTIZE = """
// The nearest integer, halves to even, within the range of its type; NaN gives the lowest.
template <typename T>
void Quantize(const float* from, T* to, int count, float scale, int zero, int low, int high) {
  for (int i = 0; i < count; ++i) {
    const float value = nearbyintf(from[i] / scale) + static_cast<float>(zero);
    to[i] = static_cast<T>(value >= high ? high : value > low ? static_cast<int>(value) : low);
  }
}
"""
DEQUANTIZE = """
template <typename T>
void Dequantize(const T* from, float* to, int count, float scale, int zero) {
  for (int i = 0; i < count; ++i) to[i] = scale * static_cast<float>(from[i] - zero);
}
"""
README = """# {name} on a microcontroller

`model_data.h` and `model_data.cc` hold the model ({size} bytes), `stream.h` and `stream.cc` run it step by step on
TensorFlow Lite for Microcontrollers (TFLM). Add the four files to a project that has TFLM, and call:

```cpp
#include "stream.h"

if (!StreamSetup()) {{ /* the arena is too small */ }}
for (;;) {{
  // fill the inputs of a step
  StreamStep({arguments});
}}
```

| | |
| --- | --- |
| arena | {arena} bytes, the fewest that TFLM takes on a 64-bit machine; pointers of a 32-bit one are half as wide |
| state | {state} bytes |
| operations | {operations} |
| inputs | {inputs} |
| outputs | {outputs} |
| delay | {delay} steps |
| window | {window} |
{valid}"""
