package streaming;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;

/** Numbers as arrays of the types that models take, and as the bytes of rows; types are the numbers of {@code streaming_type}. */
final class Values {
  static final int FLOAT32 = 1;
  static final int INT32 = 2;
  static final int UINT8 = 3;
  static final int INT64 = 4;
  static final int BOOL = 6;
  static final int INT16 = 7;
  static final int FLOAT64 = 11;

  private Values() {}

  static int bytes(int type) {
    switch (type) {
      case FLOAT32:
      case INT32:
        return 4;
      case INT64:
      case FLOAT64:
        return 8;
      case INT16:
        return 2;
      default:
        return 1;
    }
  }

  /** Numbers as {@link Stream#feed} takes them; integers have to be whole and to fit. */
  static Object of(int type, double[] numbers) {
    ByteBuffer bytes = ByteBuffer.allocate(numbers.length * bytes(type)).order(ByteOrder.LITTLE_ENDIAN);
    for (double number : numbers) {
      put(type, bytes, number);
    }
    return read(type, bytes.flip(), numbers.length);
  }

  private static void put(int type, ByteBuffer to, double number) {
    double low = type == UINT8 || type == BOOL ? 0 : -Math.pow(2, 8 * bytes(type) - 1);
    double high = type == BOOL ? 2 : type == UINT8 ? 256 : -low;
    boolean real = type == FLOAT32 || type == FLOAT64;
    if (!real && !(number >= low && number < high && number == Math.rint(number))) {
      throw new StreamingException(6, "a number does not fit the type of its input");
    }
    switch (type) {
      case FLOAT32:
        to.putFloat((float) number);
        break;
      case FLOAT64:
        to.putDouble(number);
        break;
      case INT64:
        to.putLong((long) number);
        break;
      case INT32:
        to.putInt((int) number);
        break;
      case INT16:
        to.putShort((short) number);
        break;
      default:
        to.put((byte) (int) number);
    }
  }

  /** The next elements of little-endian bytes. */
  static Object read(int type, ByteBuffer from, int count) {
    float[] floats = type == FLOAT32 ? new float[count] : null;
    double[] doubles = type == FLOAT64 ? new double[count] : null;
    long[] longs = type == INT64 ? new long[count] : null;
    int[] ints = type == INT32 ? new int[count] : null;
    short[] shorts = type == INT16 ? new short[count] : null;
    boolean[] flags = type == BOOL ? new boolean[count] : null;
    byte[] rest = new byte[count];
    for (int i = 0; i < count; i++) {
      if (floats != null) {
        floats[i] = from.getFloat();
      } else if (doubles != null) {
        doubles[i] = from.getDouble();
      } else if (longs != null) {
        longs[i] = from.getLong();
      } else if (ints != null) {
        ints[i] = from.getInt();
      } else if (shorts != null) {
        shorts[i] = from.getShort();
      } else if (flags != null) {
        flags[i] = from.get() != 0;
      } else {
        rest[i] = from.get();
      }
    }
    Object[] found = {floats, doubles, longs, ints, shorts, flags};
    for (Object array : found) {
      if (array != null) {
        return array;
      }
    }
    return rest;
  }

  /** Rows as little-endian bytes of a type. */
  static byte[] written(int type, float[] values) {
    ByteBuffer bytes = ByteBuffer.allocate(values.length * bytes(type)).order(ByteOrder.LITTLE_ENDIAN);
    for (float value : values) {
      put(type, bytes, value);
    }
    return bytes.array();
  }
}
