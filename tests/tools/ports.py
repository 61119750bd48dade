"""Free ports. They come from below the range from which the kernel takes the local ports of outgoing connections: a
client that tries a port before its server listens would otherwise take it, even by a connection to itself.

`ports.py COUNT` prints that many on one line.
"""

import itertools
import os
import socket
import sys

# as in tests/e2e/src/ports.rs
FIRST, COUNT = 22_000, 10_000
# processes that run side by side begin at different places
STEPS = itertools.count(os.getpid() * 61)


def free_port():
    """A port on which nobody listens, given out once per process."""
    for step in itertools.islice(STEPS, COUNT):
        port = FIRST + step % COUNT
        with socket.socket() as on:
            on.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                on.bind(("127.0.0.1", port))
                return port
            except OSError:
                continue
    raise RuntimeError(f"no free port between {FIRST} and {FIRST + COUNT}")


if __name__ == "__main__":
    print(*(free_port() for _ in range(int(sys.argv[1]))))
