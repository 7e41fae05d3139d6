#!/bin/sh
# build.sh [DIR]: the classes and the native library, by javac and cc.
set -e
here=$(cd "$(dirname "$0")" && pwd)
out=${1:-$here/build}
home=${JAVA_HOME:-$(dirname "$(dirname "$(readlink -f "$(command -v javac)")")")}
mkdir -p "$out/classes"
javac -Xlint:all -Werror -d "$out/classes" "$here"/src/streaming/*.java
cc -std=c11 -O2 -fPIC -shared -Wall -Wextra -I"$home/include" -I"$home/include/linux" -I"$here/../c" \
    -o "$out/libstreaming_jni.so" "$here/streaming_jni.c" "$here/../c/streaming.c" -ldl -lm
