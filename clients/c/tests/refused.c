/* refused FILE...: for each file the code and the line with which opening it ends. */
#include <stdio.h>

#include "streaming.h"

int main(int count, char **arguments) {
  for (int i = 1; i < count; i++) {
    streaming_model *model;
    streaming_code code = streaming_open(arguments[i], NULL, &model);
    printf("%d\t%s\n", code, code ? streaming_message() : "");
    streaming_close(model);
  }
  return 0;
}
