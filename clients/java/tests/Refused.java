package streaming;

/** Refused FILE...: for each file the code and the line with which opening it ends. */
public final class Refused {
  private Refused() {}

  public static void main(String[] arguments) {
    for (String path : arguments) {
      try (Model model = new Model(path)) {
        System.out.println("0\t");
      } catch (StreamingException error) {
        System.out.println(error.code + "\t" + error.getMessage());
      }
    }
  }
}
