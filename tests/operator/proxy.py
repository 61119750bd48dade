"""A TCP proxy between the operator and kube-apiserver, which can delay, refuse or cut only the operator's connections. It does
not terminate TLS."""

import socket
import threading
import time

PASSES, SLOW, REFUSES, GONE = "passes", "slow", "refuses", "gone"
# delay of each piece of an answer in the slow mode
DELAY_S = 0.4
CHUNK = 65536


class Proxy:
    """A proxy that listens on its own port."""

    def __init__(self, target):
        self.target, self.mode, self.flows, self.open = target, PASSES, threading.Event(), set()
        self.flows.set()
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.url = f"https://127.0.0.1:{self.listener.getsockname()[1]}"
        threading.Thread(target=self.accept, daemon=True).start()

    def become(self, mode):
        """Changes the mode. `refuses` also closes open connections; data held back by `gone` arrives later, as after a network
        cut."""
        self.mode = mode
        if mode == GONE:
            self.flows.clear()
        else:
            self.flows.set()
        if mode == REFUSES:
            for each in list(self.open):
                end(each)

    def accept(self):
        while True:
            client, _ = self.listener.accept()
            if self.mode == REFUSES:
                client.close()
            else:
                threading.Thread(target=self.carry, args=(client,), daemon=True).start()

    def carry(self, client):
        self.flows.wait()
        try:
            server = socket.create_connection(self.target)
        except OSError:
            client.close()
            return
        pair = {client, server}
        self.open |= pair
        answers = threading.Thread(target=self.pump, args=(server, client), daemon=True)
        answers.start()
        self.pump(client, server)
        answers.join()
        self.open -= pair
        client.close()
        server.close()

    def pump(self, source, sink):
        try:
            while data := source.recv(CHUNK):
                if self.mode == SLOW:
                    time.sleep(DELAY_S)
                self.flows.wait()
                sink.sendall(data)
        except OSError:
            pass  # one side has ended
        end(source)
        end(sink)


def end(stream):
    """Closes both directions, which also wakes a blocked reader."""
    try:
        stream.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass  # already closed
