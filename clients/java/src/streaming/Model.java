package streaming;

import java.nio.ByteBuffer;
import java.nio.CharBuffer;
import java.nio.charset.CharacterCodingException;
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

  /** Steps of an input that takes strings, such as words, as {@link Stream#feed} takes them: an int[] or a long[]. */
  public Object stringSteps(int input, String... texts) {
    byte[][] raw = new byte[texts.length][];
    for (int i = 0; i < texts.length; i++) {
      raw[i] = bytes(texts[i]);
    }
    return strings(handle(), input, raw);
  }

  /** Whether an input takes strings, see {@link #stringSteps}. */
  public boolean takesStrings(int input) {
    return takesStrings(handle(), input);
  }

  /** The number of {@code streaming_type} in streaming.h that an input has, or an output. */
  int type(int index, boolean output) {
    return (int) type(handle(), index, output);
  }

  /** The shape of one row of an output. */
  public int[] outputShape(int output) {
    return outputShape(handle(), output);
  }

  public String outputName(int output) {
    return text(outputName(handle(), output));
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

  /** UTF-8 with a zero behind it. */
  static byte[] bytes(String text) {
    if (text == null || text.indexOf('\0') >= 0) {
      throw new StreamingException(text == null ? 1 : 6, "a text is null or holds U+0000; give another");
    }
    try {
      ByteBuffer raw = StandardCharsets.UTF_8.newEncoder().encode(CharBuffer.wrap(text));
      byte[] ended = new byte[raw.remaining() + 1];
      raw.get(ended, 0, raw.remaining());
      return ended;
    } catch (CharacterCodingException error) {
      throw new StreamingException(6, "a text holds half of a surrogate pair, which is no text");
    }
  }

  static String text(byte[] raw) {
    return raw == null ? null : new String(raw, StandardCharsets.UTF_8);
  }

  private static native long open(byte[] path, byte[] library);

  private static native void close(long model);

  private static native double number(long model, int which);

  private static native long type(long model, int index, boolean output);

  private static native long tensor(long model, int index, boolean output);

  private static native byte[] name(long model, boolean fingerprint);

  private static native byte[] file(long model, byte[] name);

  private static native Object strings(long model, int input, byte[][] texts);

  private static native boolean takesStrings(long model, int input);

  private static native byte[] outputName(long model, int output);

  private static native int[] outputShape(long model, int output);
}
