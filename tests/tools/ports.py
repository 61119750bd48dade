"""Free ports. They are below the kernel's range of local ports for outgoing connections. Otherwise, a client that dials a port
before its server listens could take the port, even by connecting to itself.

`ports.py COUNT` prints that many ports on one line.
"""

import itertools
import os
import socket
import sys

# as in tests/e2e/src/ports.rs
FIRST, COUNT = 22_000, 10_000
# concurrent processes start at different ports
STEPS = itertools.count(os.getpid() * 61)


def free_port():
    """Returns a port on which nobody listens, and never returns it again in this process."""
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
