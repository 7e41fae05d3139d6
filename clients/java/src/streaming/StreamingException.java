package streaming;

/** What the C client refused: one line that says what was expected, what came and what to do, and its code. */
public final class StreamingException extends RuntimeException {
  private static final long serialVersionUID = 1L;

  /** The numbers of {@code streaming_code} in streaming.h. */
  public final int code;

  StreamingException(int code, String message) {
    super(message);
    this.code = code;
  }
}
