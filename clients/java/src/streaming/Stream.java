package streaming;

/**
 * The state of one sequence. Inputs are float[] or int[] (double[], long[], byte[], short[] for models that take those), the steps one after the
 * other; rows come back as float[], one array an output.
 */
public final class Stream implements AutoCloseable {
  private final Model model;
  private long handle;

  public Stream(Model model) {
    this.model = model;
    handle = create(model.handle());
  }

  /** Exactly {@link Model#chunk} steps. */
  public float[][] step(Object... inputs) {
    return run(handle(), 0, inputs, model.chunk());
  }

  /** Any number of steps. */
  public float[][] feed(int steps, Object... inputs) {
    return run(handle(), 1, inputs, steps);
  }

  /** What the delay holds back; afterwards only {@link #reset} opens the stream again. */
  public float[][] finish() {
    return run(handle(), 2, new Object[0], 0);
  }

  /** Gives a fresh stream the whole input that it depends on. */
  public void encode(long[] lengths, Object... sources) {
    encode(handle(), sources, lengths);
  }

  public void reset() {
    reset(handle());
  }

  /** The stream as bytes, which every client and Python restores. */
  public byte[] save() {
    return save(handle());
  }

  public void restore(byte[] blob) {
    restore(handle(), blob);
  }

  /** Steps taken since the start. */
  public long position() {
    return position(handle());
  }

  @Override
  public void close() {
    free(handle);
    handle = 0;
  }

  private long handle() {
    model.handle();
    if (handle == 0) {
      throw new StreamingException(7, "the stream is closed; make another");
    }
    return handle;
  }

  private static native long create(long model);

  private static native void free(long stream);

  private static native float[][] run(long stream, int how, Object[] inputs, int steps);

  private static native void encode(long stream, Object[] sources, long[] lengths);

  private static native void reset(long stream);

  private static native byte[] save(long stream);

  private static native void restore(long stream, byte[] blob);

  private static native long position(long stream);
}
