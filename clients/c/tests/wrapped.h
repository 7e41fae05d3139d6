/* The calls of tests/vectors.c by way of the C++ classes: wrapped.cpp has each of them. */
streaming_code wrapped_open(const char *path, const char *library, streaming_model **model);
void wrapped_close(streaming_model *model);
streaming_code wrapped_create(streaming_model *model, streaming_stream **stream);
void wrapped_free(streaming_stream *stream);
streaming_code wrapped_feed(streaming_stream *stream, const void *const *inputs, size_t steps, streaming_sink sink, void *user);
streaming_code wrapped_finish(streaming_stream *stream, streaming_sink sink, void *user);
streaming_code wrapped_encode(streaming_stream *stream, const void *const *sources, const size_t *lengths);
size_t wrapped_position(const streaming_stream *stream);
streaming_code wrapped_save(const streaming_stream *stream, void *data, size_t capacity, size_t *size);
streaming_code wrapped_restore(streaming_stream *stream, const void *data, size_t size);
streaming_code wrapped_string_steps(const streaming_model *model, size_t input, const char *const *texts, size_t count, void *steps, size_t capacity,
                                    size_t *length);
streaming_code wrapped_session_open(streaming_model *model, streaming_listener listener, void *user, streaming_session **session);
void wrapped_session_free(streaming_session *session);
streaming_code wrapped_session_word(streaming_session *session, const char *word);
streaming_code wrapped_session_row(streaming_session *session, const double *row, size_t count);
streaming_code wrapped_session_samples(streaming_session *session, const float *samples, size_t count);
streaming_code wrapped_session_text(streaming_session *session, const char *text, size_t limit);
streaming_code wrapped_session_array(streaming_session *session, const double *values, size_t count);
streaming_code wrapped_session_finish(streaming_session *session);

#ifndef __cplusplus
#define streaming_open wrapped_open
#define streaming_close wrapped_close
#define streaming_create wrapped_create
#define streaming_free wrapped_free
#define streaming_feed wrapped_feed
#define streaming_finish wrapped_finish
#define streaming_encode wrapped_encode
#define streaming_position wrapped_position
#define streaming_save wrapped_save
#define streaming_restore wrapped_restore
#define streaming_string_steps wrapped_string_steps
#define streaming_session_open wrapped_session_open
#define streaming_session_free wrapped_session_free
#define streaming_session_word wrapped_session_word
#define streaming_session_row wrapped_session_row
#define streaming_session_samples wrapped_session_samples
#define streaming_session_text wrapped_session_text
#define streaming_session_array wrapped_session_array
#define streaming_session_finish wrapped_session_finish
#endif
