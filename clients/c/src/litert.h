/* The functions of LiteRT's C API that are used, by their prototypes of version 2.3; loaded when the first model is. */

typedef struct st_layout {
  unsigned int rank : 7;
  bool has_strides : 1;
  int32_t dimensions[8];
  uint32_t strides[8];
} st_layout;

typedef struct st_ranked {
  int element;
  st_layout layout;
} st_ranked;

typedef void *st_handle;

typedef struct st_litert {
  void *library;
  int (*CreateEnvironment)(int, const void *, st_handle *);
  void (*DestroyEnvironment)(st_handle);
  int (*CreateModelFromBuffer)(st_handle, const void *, size_t, st_handle *);
  void (*DestroyModel)(st_handle);
  int (*GetNumModelSignatures)(st_handle, size_t *);
  int (*GetModelSignature)(st_handle, size_t, st_handle *);
  int (*GetSignatureKey)(st_handle, const char **);
  int (*GetNumSignatureInputs)(st_handle, size_t *);
  int (*GetSignatureInputName)(st_handle, size_t, const char **);
  int (*GetSignatureInputTensorByIndex)(st_handle, size_t, st_handle *);
  int (*GetNumSignatureOutputs)(st_handle, size_t *);
  int (*GetSignatureOutputName)(st_handle, size_t, const char **);
  int (*GetSignatureOutputTensorByIndex)(st_handle, size_t, st_handle *);
  int (*GetRankedTensorType)(st_handle, st_ranked *);
  int (*CreateOptions)(st_handle *);
  void (*DestroyOptions)(st_handle);
  int (*SetOptionsHardwareAccelerators)(st_handle, int);
  int (*CreateCompiledModel)(st_handle, st_handle, st_handle, st_handle *);
  void (*DestroyCompiledModel)(st_handle);
  int (*CreateTensorBufferFromHostMemory)(const st_ranked *, void *, size_t, void (*)(void *), st_handle *);
  void (*DestroyTensorBuffer)(st_handle);
  int (*RunCompiledModel)(st_handle, size_t, size_t, st_handle *, size_t, st_handle *);
} st_litert;

#define ST_CPU 1

static streaming_code st_load(st_litert *lib, const char *path) {
  if (!path) path = getenv("STREAMING_LITERT");
  if (!path || !*path) path = "libLiteRt.so";
  lib->library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
  if (!lib->library)
    return st_fail(STREAMING_RUNTIME, "LiteRT cannot be loaded (%s); name libLiteRt.so in STREAMING_LITERT", dlerror());
  struct {
    const char *name;
    void *place;
  } wanted[] = {
#define ST_NAMED(name) {"LiteRt" #name, &lib->name}
      ST_NAMED(CreateEnvironment), ST_NAMED(DestroyEnvironment), ST_NAMED(CreateModelFromBuffer), ST_NAMED(DestroyModel),
      ST_NAMED(GetNumModelSignatures), ST_NAMED(GetModelSignature), ST_NAMED(GetSignatureKey), ST_NAMED(GetNumSignatureInputs),
      ST_NAMED(GetSignatureInputName), ST_NAMED(GetSignatureInputTensorByIndex), ST_NAMED(GetNumSignatureOutputs),
      ST_NAMED(GetSignatureOutputName), ST_NAMED(GetSignatureOutputTensorByIndex), ST_NAMED(GetRankedTensorType),
      ST_NAMED(CreateOptions), ST_NAMED(DestroyOptions), ST_NAMED(SetOptionsHardwareAccelerators), ST_NAMED(CreateCompiledModel),
      ST_NAMED(DestroyCompiledModel), ST_NAMED(CreateTensorBufferFromHostMemory), ST_NAMED(DestroyTensorBuffer),
      ST_NAMED(RunCompiledModel),
#undef ST_NAMED
  };
  for (size_t i = 0; i < sizeof wanted / sizeof *wanted; i++) {
    void *found = dlsym(lib->library, wanted[i].name);
    if (!found) return st_fail(STREAMING_RUNTIME, "%s has no %s; take LiteRT 2.3", path, wanted[i].name);
    memcpy(wanted[i].place, &found, sizeof found);
  }
  return STREAMING_OK;
}
