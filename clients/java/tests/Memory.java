package streaming;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;

/**
 * Memory ROWS WORDS STRINGS: three models, used while each native allocation fails in turn, and while the heap of Java is full. What is
 * asked then is refused with a code and a line, or with an OutOfMemoryError, or is done; a stream from before goes on with the same rows.
 */
public final class Memory {
  private static final int MEMORY = 5;

  static {
    Model.text(null); // it loads the library
  }

  private Memory() {}

  private static native long allow(long count);

  private static void rows(Model model) {
    try (Stream stream = new Stream(model); Stream other = new Stream(model)) {
      float[] steps = new float[7 * model.inputElements(0)];
      stream.feed(7, steps);
      other.restore(stream.save());
      other.finish();
    }
    try (Session session = new Session(model)) {
      session.row(new double[model.inputElements(0)]);
      session.finish();
    }
  }

  private static void words(Model model) {
    try (Session session = new Session(model)) {
      session.word("Time");
      session.finish();
    }
  }

  private static void strings(Model model) {
    try (Stream stream = new Stream(model)) {
      stream.feed(2, model.stringSteps(0, "the", "a"));
    }
  }

  private static void use(String[] paths, int which) {
    try (Model model = new Model(paths[which])) {
      if (which == 0) {
        rows(model);
      } else if (which == 1) {
        words(model);
      } else {
        strings(model);
      }
    }
  }

  private static void nativeMemory(String[] paths, int which) {
    allow(Long.MAX_VALUE);
    use(paths, which);
    long all = allow(Long.MAX_VALUE);
    int refused = 0;
    // Most allocations are the pieces of JSON and of vocabularies: of those some.
    for (long count = 0; count < all; count += count < 40 || all - count < 60 ? 1 : 1 + all / 97) {
      allow(count);
      try {
        use(paths, which);
      } catch (StreamingException error) {
        String line = error.getMessage();
        if (error.code != MEMORY || line == null || line.length() < 10 || line.contains("\n")) {
          throw new AssertionError(error.code + " after " + count + " allocations: " + line);
        }
        refused++;
      }
    }
    allow(Long.MAX_VALUE);
    if (refused < 60) throw new AssertionError(refused + " of " + all + " refused");
  }

  private static int heap(String path) {
    List<byte[]> ballast = new ArrayList<>();
    int full = 0;
    try (Model model = new Model(path); Stream stream = new Stream(model)) {
      float[] steps = new float[2000 * model.inputElements(0)];
      float[] expected = stream.feed(2000, steps)[0];
      double[] row = new double[model.inputElements(0)];
      for (int size = 1 << 16; size >= 16; size /= 4) {
        try {
          while (true) ballast.add(new byte[size]);
        } catch (OutOfMemoryError error) {
          // Full, to that size.
        }
        try (Session session = new Session(model)) {
          stream.reset();
          stream.feed(2000, steps);
          session.row(row);
        } catch (OutOfMemoryError error) {
          full++;
        }
      }
      ballast.clear();
      stream.reset();
      if (!Arrays.equals(expected, stream.feed(2000, steps)[0])) throw new AssertionError("other rows");
    }
    return full;
  }

  public static void main(String[] paths) {
    for (int i = 0; i < paths.length; i++) nativeMemory(paths, i);
    int full = heap(paths[0]);
    if (full == 0) throw new AssertionError("the heap was never full");
    System.out.println("ok");
  }
}
