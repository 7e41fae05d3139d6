package streaming;

import java.nio.charset.StandardCharsets;

/**
 * A streaming .tflite file. It belongs to one thread at a time, with all of its streams and sessions: open the file once a thread, and
 * close it after them.
 */
public final class Model implements AutoCloseable {
  static {
    String library = System.getProperty("streaming.library");
    if (library != null) {
      System.load(library);
    } else {
      System.loadLibrary("streaming_jni");
    }
  }

  long handle;

  /** Opens a file; LiteRT is looked for as {@code streaming_open} says. */
  public Model(String path) {
    this(path, null);
  }

  /** Opens a file with the libLiteRt.so at a path. */
  public Model(String path, String library) {
    handle = open(bytes(path), library == null ? null : bytes(library));
  }

  /** Steps of {@link Stream#step}. */
  public int chunk() {
    return (int) number(handle(), 0);
  }

  /** Steps between an input and the output of its position. */
  public int delay() {
    return (int) number(handle(), 1);
  }

  /** Steps of a window, 0 where state is carried. */
  public int window() {
    return (int) number(handle(), 2);
  }

  public int inputs() {
    return (int) number(handle(), 3);
  }

  public int outputs() {
    return (int) number(handle(), 4);
  }

  /** Samples a second of audio. */
  public double sampleRate() {
    return number(handle(), 5);
  }

  /** Elements of one step of an input. */
  public int inputElements(int input) {
    return (int) tensor(handle(), input, false);
  }

  /** Elements of one row of an output. */
  public int outputElements(int output) {
    return (int) tensor(handle(), output, true);
  }

  /** What the task is called, "" for none. */
  public String task() {
    return text(name(handle(), false));
  }

  public String fingerprint() {
    return text(name(handle(), true));
  }

  /** An associated file. */
  public byte[] file(String name) {
    return file(handle(), bytes(name));
  }

  @Override
  public void close() {
    close(handle);
    handle = 0;
  }

  long handle() {
    if (handle == 0) {
      throw new StreamingException(7, "the model is closed; open it again");
    }
    return handle;
  }

  static byte[] bytes(String text) {
    byte[] raw = text.getBytes(StandardCharsets.UTF_8);
    byte[] ended = new byte[raw.length + 1];
    System.arraycopy(raw, 0, ended, 0, raw.length);
    return ended;
  }

  static String text(byte[] raw) {
    return raw == null ? null : new String(raw, StandardCharsets.UTF_8);
  }

  private static native long open(byte[] path, byte[] library);

  private static native void close(long model);

  private static native double number(long model, int which);

  private static native long tensor(long model, int index, boolean output);

  private static native byte[] name(long model, boolean fingerprint);

  private static native byte[] file(long model, byte[] name);
}
