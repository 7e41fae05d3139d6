package streaming;

import java.io.BufferedReader;
import java.io.DataInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.lang.reflect.Array;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;

/** The command: stream MODEL [--raw | --steps] [--max-length N] [--temperature X] [--seed N], as that of the C client. */
public final class Main {
  private static final PrintStream OUT = new PrintStream(System.out, false, StandardCharsets.UTF_8);

  private Main() {}

  public static void main(String[] arguments) throws IOException {
    String path = null;
    boolean raw = false;
    boolean steps = false;
    int limit = 0;
    double temperature = Double.NaN;
    long seed = -1;
    for (int i = 0; i < arguments.length; i++) {
      if (arguments[i].equals("--raw")) {
        raw = true;
      } else if (arguments[i].equals("--steps")) {
        steps = true;
      } else if (arguments[i].equals("--max-length") && i + 1 < arguments.length && arguments[i + 1].matches("[1-9][0-9]{0,5}")) {
        limit = Integer.parseInt(arguments[++i]);
      } else if (arguments[i].equals("--temperature") && i + 1 < arguments.length && arguments[i + 1].matches("[0-9]+(\\.[0-9]*)?|\\.[0-9]+")) {
        temperature = Double.parseDouble(arguments[++i]);
      } else if (arguments[i].equals("--seed") && i + 1 < arguments.length && arguments[i + 1].matches("[0-9]{1,10}")) {
        seed = Long.parseLong(arguments[++i]);
      } else if (path == null && !arguments[i].startsWith("-")) {
        path = arguments[i];
      } else {
        path = null;
        break;
      }
    }
    if (path == null) {
      System.err.println("stream: expected: stream MODEL [--raw | --steps] [--max-length N] [--temperature X] [--seed N]");
      System.exit(2);
    }
    try (Model model = new Model(path)) {
      if (raw) {
        raw(model);
      } else if (steps || model.task().isEmpty()) {
        steps(model);
      } else {
        tasks(model, limit, temperature, seed);
      }
    } catch (StreamingException error) {
      OUT.flush();
      System.err.println("stream: " + error.getMessage());
      System.exit(2);
    }
    OUT.flush();
  }

  private static void raw(Model model) throws IOException {
    int size = 0;
    for (int i = 0; i < model.inputs(); i++) {
      size += model.inputElements(i) * Values.bytes(model.type(i, false));
    }
    byte[] step = new byte[size];
    DataInputStream in = new DataInputStream(System.in);
    try (Stream stream = new Stream(model)) {
      for (boolean fed = false; ; fed = true) {
        int got = in.readNBytes(step, 0, size);
        if (got == 0) {
          if (fed) {
            write(model, stream.finish()[0]);
          }
          return;
        }
        if (got < size) {
          throw new StreamingException(6, "the input ends in the middle of a step");
        }
        ByteBuffer bytes = ByteBuffer.wrap(step).order(ByteOrder.LITTLE_ENDIAN);
        Object[] given = new Object[model.inputs()];
        for (int i = 0; i < given.length; i++) {
          given[i] = Values.read(model.type(i, false), bytes, model.inputElements(i));
        }
        write(model, stream.feed(1, given)[0]);
      }
    }
  }

  private static void write(Model model, float[] row) {
    byte[] bytes = Values.written(model.type(0, true), row);
    OUT.write(bytes, 0, bytes.length);
  }

  /** A step a line, or a word or a text where the only input takes strings; an empty line ends a sequence. */
  private static void steps(Model model) throws IOException {
    BufferedReader lines = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
    boolean strings = model.inputs() == 1 && model.takesStrings(0);
    int sequence = 0;
    boolean fed = false;
    int[] rows = new int[model.outputs()];
    try (Stream stream = new Stream(model)) {
      for (String line = lines.readLine(); line != null || fed; line = line == null ? null : lines.readLine()) {
        if (line != null && !line.isBlank()) {
          Object[] given = strings ? new Object[] {model.stringSteps(0, line)} : step(model, numbers(line));
          int count = strings ? Array.getLength(given[0]) / model.inputElements(0) : 1;
          show(model, stream.feed(count, given), sequence, rows);
          fed = true;
        } else if (fed) {
          show(model, stream.finish(), sequence++, rows);
          stream.reset();
          Arrays.fill(rows, 0);
          fed = false;
        }
      }
    }
  }

  private static Object[] step(Model model, double[] numbers) {
    Object[] given = new Object[model.inputs()];
    int at = 0;
    int total = 0;
    for (int i = 0; i < given.length; i++) {
      total += model.inputElements(i);
    }
    if (numbers.length != total) {
      throw new StreamingException(6, "a line has " + numbers.length + " numbers, expected the " + total + " of a step");
    }
    for (int i = 0; i < given.length; i++) {
      given[i] = Values.of(model.type(i, false), Arrays.copyOfRange(numbers, at, at += model.inputElements(i)));
    }
    return given;
  }

  private static void show(Model model, float[][] found, int sequence, int[] rows) {
    for (int o = 0; o < found.length; o++) {
      int size = model.outputElements(o);
      for (int at = 0; at < found[o].length; at += size) {
        int[] place = {at};
        String value = nested(found[o], model.outputShape(o), 0, place);
        String name = quoted(model.outputName(o));
        OUT.println("{\"sequence\": " + sequence + ", \"output\": " + name + ", \"index\": " + rows[o]++ + ", \"value\": " + value + "}");
      }
    }
    OUT.flush();
  }

  private static String nested(float[] values, int[] shape, int axis, int[] place) {
    if (axis == shape.length) {
      return shown(values[place[0]++]);
    }
    List<String> parts = new ArrayList<>();
    for (int i = 0; i < shape[axis]; i++) {
      parts.add(nested(values, shape, axis + 1, place));
    }
    return parts.toString();
  }

  private static void tasks(Model model, int limit, double temperature, long seed) throws IOException {
    String task = model.task();
    if (!task.equals("sketcher") && (!Double.isNaN(temperature) || seed >= 0)) {
      throw new StreamingException(6, "--temperature and --seed go with sketchers; leave them out");
    }
    try (Session session = new Session(model)) {
      if (task.equals("sketcher")) {
        session.drawing(temperature, limit, Math.max(seed, 0));
      }
      if (task.equals("keyword_spotter") || task.equals("transcriber")) {
        sound(session, (int) model.sampleRate());
        return;
      }
      BufferedReader lines = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
      boolean words = task.equals("tagger") || (task.equals("classifier") && hasWords(model));
      boolean texts = task.equals("translator") || task.equals("generator");
      int number = 0;
      boolean fed = false;
      for (String line = lines.readLine(); line != null; line = lines.readLine()) {
        if (words || texts) {
          number++;
        }
        if (words) {
          sentence(session, line, number);
        } else if (texts && !line.isBlank()) {
          show(session.text(line, limit), "\"line\": " + number);
        } else if (task.equals("captioner") && !line.isBlank()) {
          show(session.array(numbers(line)), "");
        } else if (!texts && line.isBlank() && fed) {
          show(session.finish(), "\"sequence\": " + number++);
          fed = false;
        } else if (!texts && !line.isBlank()) {
          show(session.row(numbers(line)), "\"sequence\": " + number);
          fed = true;
        }
      }
      if (fed) {
        show(session.finish(), "\"sequence\": " + number);
      }
    }
  }

  private static boolean hasWords(Model model) {
    try {
      return model.file("words.txt") != null;
    } catch (StreamingException error) {
      return false;
    }
  }

  private static void sentence(Session session, String line, int number) {
    List<Event> events = new ArrayList<>();
    String[] words = line.isBlank() ? new String[0] : line.strip().split("\\s+");
    for (String word : words) {
      events.addAll(session.word(word));
    }
    events.addAll(session.finish());
    for (int i = 0; i < events.size(); i++) {
      boolean judged = events.get(i).kind.equals("prediction") && i < words.length;
      show(List.of(events.get(i)), "\"line\": " + number + (judged ? ", \"word\": " + quoted(words[i]) : ""));
    }
  }

  private static double[] numbers(String line) {
    String[] cells = line.replaceAll("[\\[\\],;]", " ").strip().split("\\s+");
    double[] found = new double[cells.length];
    for (int i = 0; i < cells.length; i++) {
      try {
        // Java takes but one spelling of each.
        String cell = cells[i].replaceFirst("(?i)^[+-]?nan$", "NaN").replaceFirst("(?i)^([+-]?)inf(inity)?$", "$1Infinity");
        found[i] = Double.parseDouble(cell);
      } catch (NumberFormatException error) {
        throw new StreamingException(6, "a line holds no numbers; give a row a line");
      }
    }
    return found;
  }

  private static void sound(Session session, int rate) throws IOException {
    InputStream in = System.in;
    ByteBuffer head = chunk(in, 12);
    if (head == null || head.getInt(0) != 0x46464952 || head.getInt(8) != 0x45564157) {
      throw new StreamingException(6, "the input is no WAV file; convert it to 16-bit WAV");
    }
    int bits = 0;
    while (true) {
      head = chunk(in, 8);
      if (head == null) {
        throw new StreamingException(6, "the WAV file has no samples; record something");
      }
      int size = head.getInt(4);
      if (head.getInt(0) == 0x61746164) {
        break;
      }
      ByteBuffer body = chunk(in, size + size % 2);
      if (head.getInt(0) == 0x20746d66 && body != null) {
        bits = body.getShort(2) == 1 && body.getInt(4) == rate ? body.getShort(14) : 0;
      }
    }
    if (bits != 16) {
      throw new StreamingException(6, "the WAV file is not of one channel of 16 bits at " + rate + " Hz; convert it");
    }
    byte[] block = new byte[800];
    float[] samples = new float[400];
    for (int left = head.getInt(4); left > 1; ) {
      int got = in.readNBytes(block, 0, Math.min(block.length, left)) / 2;
      if (got == 0) {
        break;
      }
      ByteBuffer shorts = ByteBuffer.wrap(block).order(ByteOrder.LITTLE_ENDIAN);
      for (int i = 0; i < got; i++) {
        samples[i] = shorts.getShort(2 * i) / 32768f;
      }
      left -= 2 * got;
      show(session.samples(samples, got), null);
    }
    show(session.finish(), null);
  }

  private static ByteBuffer chunk(InputStream in, int size) throws IOException {
    byte[] found = in.readNBytes(size);
    return found.length < size ? null : ByteBuffer.wrap(found).order(ByteOrder.LITTLE_ENDIAN);
  }

  private static void show(List<Event> events, String place) {
    for (Event event : events) {
      List<String> parts = new ArrayList<>();
      if (place == null) {
        parts.add("\"event\": " + quoted(event.kind));
      } else if (!place.isEmpty()) {
        parts.add(place);
      }
      String kind = event.kind;
      if (kind.equals("taggedrow") || kind.equals("forecast") || kind.equals("anomaly") || kind.equals("point")) {
        parts.add("\"row\": " + event.row);
      }
      if (kind.equals("point")) {
        parts.add("\"dx\": " + shown(event.dx) + ", \"dy\": " + shown(event.dy) + ", \"lift\": " + event.lift + ", \"end\": " + event.ends);
      }
      if (event.text != null) {
        boolean label = kind.equals("prediction") || kind.equals("keyword") || kind.equals("utterance");
        boolean word = kind.equals("taggedword") || kind.equals("translatedword");
        parts.add((label ? "\"label\": " : word ? "\"word\": " : "\"text\": ") + quoted(event.text));
      }
      if (event.tag != null) {
        parts.add("\"tag\": " + quoted(event.tag));
      }
      if (kind.equals("forecast")) {
        parts.add("\"values\": " + table(event));
      } else if (kind.equals("transcript")) {
        parts.add("\"log_probability\": " + shown(event.score));
      } else if (!kind.equals("token") && !kind.equals("translatedword")) {
        parts.add("\"score\": " + shown(event.score));
      }
      if (kind.equals("anomaly")) {
        parts.add("\"error\": " + shown(event.error));
        parts.add("\"alarm\": " + event.alarm);
      }
      if (kind.equals("translatedword")) {
        parts.add("\"read\": " + event.read);
      }
      if (kind.equals("taggedrow") || kind.equals("keyword") || kind.equals("token")) {
        parts.add("\"time\": " + shown(event.time));
      }
      if (kind.equals("transcript") || kind.equals("utterance")) {
        parts.add("\"begin\": " + shown(event.begin) + ", \"end\": " + shown(event.end));
      }
      if (event.labels.length > 0) {
        List<String> labels = new ArrayList<>();
        for (String label : event.labels) {
          labels.add(quoted(label));
        }
        parts.add("\"labels\": " + labels);
      }
      OUT.println("{" + String.join(", ", parts) + "}");
    }
    OUT.flush();
  }

  private static String table(Event event) {
    List<String> rows = new ArrayList<>();
    for (int h = 0; h < event.horizon; h++) {
      List<String> row = new ArrayList<>();
      for (int t = 0; t < event.targets; t++) {
        row.add(shown(event.values[(h * event.targets + t) * event.quantiles + event.middle]));
      }
      rows.add(row.toString());
    }
    return rows.toString();
  }

  private static String shown(double value) {
    return Double.isFinite(value) ? String.format(Locale.ROOT, "%.6f", value) : "null";
  }

  private static String quoted(String text) {
    StringBuilder found = new StringBuilder("\"");
    for (int i = 0; i < text.length(); i++) {
      char c = text.charAt(i);
      if (c == '"' || c == '\\') {
        found.append('\\').append(c);
      } else if (c < 32) {
        found.append(String.format("\\u%04x", (int) c));
      } else {
        found.append(c);
      }
    }
    return found.append('"').toString();
  }
}
