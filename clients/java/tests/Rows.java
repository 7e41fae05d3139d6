package streaming;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.ArrayList;
import java.util.List;

/**
 * Rows MODEL: the rows of all outputs for arrays on standard input, which tools/run_on_java.py writes. An array is its type, its number of
 * elements and its values; the input has a number of sources, a length and an array each, a number of pieces, and for each piece a number
 * of steps and an array for each input. All numbers are int32. Rows go to standard output as arrays of float32, pieces joined.
 */
public final class Rows {
  private Rows() {}

  public static void main(String[] arguments) throws IOException {
    ByteBuffer in = ByteBuffer.wrap(System.in.readAllBytes()).order(ByteOrder.LITTLE_ENDIAN);
    try (Model model = new Model(arguments[0]); Stream stream = new Stream(model)) {
      encode(stream, in);
      List<List<float[]>> found = new ArrayList<>();
      for (int o = 0; o < model.outputs(); o++) {
        found.add(new ArrayList<>());
      }
      for (int pieces = in.getInt(); pieces > 0; pieces--) {
        int steps = in.getInt();
        Object[] given = new Object[model.inputs()];
        for (int i = 0; i < given.length; i++) {
          given[i] = array(in);
        }
        keep(found, stream.feed(steps, given));
      }
      keep(found, stream.finish());
      for (List<float[]> rows : found) {
        write(rows);
      }
    } catch (StreamingException error) {
      System.err.println("rows: " + error.getMessage());
      System.exit(2);
    }
    System.out.flush();
  }

  private static void encode(Stream stream, ByteBuffer in) {
    int count = in.getInt();
    long[] lengths = new long[count];
    Object[] sources = new Object[count];
    for (int i = 0; i < count; i++) {
      lengths[i] = in.getInt();
      sources[i] = array(in);
    }
    if (count > 0) {
      stream.encode(lengths, sources);
    }
  }

  private static Object array(ByteBuffer in) {
    int type = in.getInt();
    return Values.read(type, in, in.getInt());
  }

  private static void keep(List<List<float[]>> to, float[][] rows) {
    for (int o = 0; o < rows.length; o++) {
      to.get(o).add(rows[o]);
    }
  }

  private static void write(List<float[]> rows) {
    int count = 0;
    for (float[] piece : rows) {
      count += piece.length;
    }
    ByteBuffer out = ByteBuffer.allocate(4 + 4 * count).order(ByteOrder.LITTLE_ENDIAN).putInt(count);
    for (float[] piece : rows) {
      for (float value : piece) {
        out.putFloat(value);
      }
    }
    System.out.write(out.array(), 0, out.capacity());
  }
}
