package streaming;

/** What a task says; fields that an event does not have are null, NaN or -1. */
public final class Event {
  /** "taggedword", "prediction", "taggedrow", "forecast", "anomaly", "keyword", "utterance", "token", "transcript", "text", "point", ... */
  public final String kind;

  /** Word, label, or text. */
  public final String text;

  public final String tag;
  public final double score;
  public final double error;
  public final double time;
  public final double begin;
  public final double end;
  public final long row;
  public final long read;
  public final boolean alarm;

  /** Of a forecast: horizon, targets, quantiles, the last axis fastest. */
  public final double[] values;

  public final int horizon;
  public final int targets;
  public final int quantiles;
  public final int middle;

  /** Of a point: the movement to it, and whether it is the last of its stroke, and of the drawing. */
  public final double dx;

  public final double dy;
  public final boolean lift;
  public final boolean ends;

  /** Of a prediction: all labels that hold, where several may. */
  public final String[] labels;

  Event(byte[][] texts, double[] numbers, double[] values, byte[][] labels) {
    kind = Model.text(texts[0]);
    text = Model.text(texts[1]);
    tag = Model.text(texts[2]);
    score = numbers[0];
    error = numbers[1];
    time = numbers[2];
    begin = numbers[3];
    end = numbers[4];
    row = (long) numbers[5];
    read = (long) numbers[6];
    alarm = numbers[7] != 0;
    horizon = (int) numbers[8];
    targets = (int) numbers[9];
    quantiles = (int) numbers[10];
    middle = (int) numbers[11];
    dx = numbers[12];
    dy = numbers[13];
    lift = numbers[14] != 0;
    ends = numbers[15] != 0;
    this.values = values;
    this.labels = new String[labels.length];
    for (int i = 0; i < labels.length; i++) {
      this.labels[i] = Model.text(labels[i]);
    }
  }
}
