package streaming;

import java.util.ArrayList;
import java.util.List;

/** Raw input to events: words, rows, samples, texts or arrays, as the task of the model takes them. */
public final class Session implements AutoCloseable {
  private final Model model;
  private final List<Event> events = new ArrayList<>();
  private long handle;

  public Session(Model model) {
    this.model = model;
    handle = open(model.handle());
  }

  /** A word of a sentence: tagger, classifier. */
  public List<Event> word(String word) {
    return given(() -> word(handle(), Model.bytes(word)));
  }

  /** A row of numbers: classifier, sequence_tagger, forecaster, anomaly_detector; of the beginning of a drawing: sketcher. */
  public List<Event> row(double[] row) {
    return given(() -> row(handle(), row));
  }

  /** Samples between -1 and 1: keyword_spotter, transcriber. */
  public List<Event> samples(float[] samples, int count) {
    return given(() -> samples(handle(), samples, count));
  }

  /** A whole text: translator, generator; limit of pieces, 0 for the file's. */
  public List<Event> text(String text, int limit) {
    return given(() -> text(handle(), Model.bytes(text), limit));
  }

  /** A whole array: captioner. */
  public List<Event> array(double[] values) {
    return given(() -> array(handle(), values));
  }

  /**
   * How a sketcher draws from now on.
   *
   * @param temperature 0 draws the most probable points; NaN: as the file says
   * @param limit most points of a drawing, 0 for the file's
   * @param seed from 0 to 4294967295; the same one gives the same drawings, one after the other
   */
  public void drawing(double temperature, int limit, long seed) {
    drawing(handle(), temperature, limit, seed);
  }

  /** The end of a sequence; what comes next begins another. A sketcher gives the points that follow the beginning. */
  public List<Event> finish() {
    return given(() -> finish(handle()));
  }

  @Override
  public void close() {
    free(handle);
    handle = 0;
  }

  private List<Event> given(Runnable call) {
    events.clear();
    call.run();
    return new ArrayList<>(events);
  }

  private long handle() {
    model.handle();
    if (handle == 0) {
      throw new StreamingException(7, "the session is closed; make another");
    }
    return handle;
  }

  /** Called by the native code. */
  private void add(byte[][] texts, double[] numbers, double[] values, byte[][] labels) {
    events.add(new Event(texts, numbers, values, labels));
  }

  private native long open(long model);

  private native void free(long session);

  private native void word(long session, byte[] word);

  private native void row(long session, double[] row);

  private native void samples(long session, float[] samples, int count);

  private native void text(long session, byte[] text, int limit);

  private native void array(long session, double[] values);

  private native void drawing(long session, double temperature, int limit, long seed);

  private native void finish(long session);
}
