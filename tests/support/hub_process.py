"""A process that downloads: `hub_process.py NAME LOCKS DIE`, LOCKS one of right, none, refused; it dies at event DIE.

Events are what touches the disk or the network; DIE 0 lives and prints how many there were.
"""

import errno
import fcntl
import os
import signal
import sys
import threading

from rnnzoo.hub import download, sources

EVENTS = {"open", "os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.truncate", "os.chmod", "socket.connect"}


def main(name, locks, die):
    counted = [0]
    guard = threading.Lock()

    def count():
        with guard:
            counted[0] += 1
            if counted[0] == die:
                os.kill(os.getpid(), signal.SIGKILL)

    def refuse(*arguments):
        raise OSError(errno.ENOLCK, "No locks available")

    if locks != "right":
        fcntl.flock = refuse if locks == "refused" else lambda *arguments: None
    read, sync = sources.Reply.read, os.fsync

    def counted_read(self, size):
        count()
        return read(self, min(size, 1 << 16))

    def counted_sync(handle):
        count()
        sync(handle)

    sources.Reply.read, os.fsync = counted_read, counted_sync
    sys.addaudithook(lambda event, arguments: count() if event in EVENTS else None)
    folder = download(name)
    print(counted[0], folder)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
