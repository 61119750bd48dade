"""The part of a kubelet's server that the API server calls for users: container logs and port forwarding. `node.py` replaces the
rest of a kubelet."""

import base64
import hashlib
import http.server
import os
import socket
import ssl
import struct
import threading
import urllib.parse

# identifier in the WebSocket handshake (RFC 6455)
GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
BINARY, CLOSE, PING, PONG = 2, 8, 9, 10


class Kubelet:
    """One server for all nodes."""

    def __init__(self, api, folder, address):
        handler = type("Handler", (Handler,), {"api": api, "folder": folder})
        self.server = http.server.ThreadingHTTPServer((address, 0), handler)
        self.server.daemon_threads = True
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(os.path.join(folder, "apiserver.crt"), os.path.join(folder, "apiserver.key"))
        self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def end(self):
        self.server.shutdown()
        self.server.server_close()


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def do_GET(self):
        url = urllib.parse.urlsplit(self.path)
        verb, namespace, name = url.path.strip("/").split("/")[:3]
        query = dict(urllib.parse.parse_qsl(url.query))
        if verb == "portForward":
            self.forward(namespace, name, int(query["port"]))
        elif verb == "containerLogs" and query.get("previous") == "true" and not name.endswith("-2"):
            self.send_error(400, "previous terminated container not found")
        elif verb == "containerLogs":
            self.logs(namespace, name, int(query.get("tailLines", 10**6)))
        else:
            self.send_error(404)

    def logs(self, namespace, name, lines):
        with open(os.path.join(self.folder, f"{namespace}-{name}.log"), "rb") as file:
            text = b"".join(file.readlines()[-lines:])
        self.send_response(200)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def forward(self, namespace, name, port):
        """Forwards a port over two channels, one for data and one for errors. Each starts with the port."""
        address = self.api.get(f"/api/v1/namespaces/{namespace}/pods/{name}")["status"]["podIP"]
        accepted = base64.b64encode(hashlib.sha1((self.headers["Sec-WebSocket-Key"] + GUID).encode()).digest()).decode()
        self.send_response(101)
        for header in (("Upgrade", "websocket"), ("Connection", "Upgrade"), ("Sec-WebSocket-Accept", accepted), ("Sec-WebSocket-Protocol", "v4.channel.k8s.io")):
            self.send_header(*header)
        self.end_headers()
        self.close_connection = True
        for channel in (b"\0", b"\1"):
            self.send(BINARY, channel + struct.pack("<H", port))
        with socket.create_connection((address, port)) as member:
            threading.Thread(target=self.back, args=(member,), daemon=True).start()
            while True:
                kind, content = self.receive()
                if kind in (None, CLOSE):
                    return
                if kind == PING:
                    self.send(PONG, content)
                elif content[:1] == b"\0":
                    member.sendall(content[1:])

    def back(self, member):
        try:
            while piece := member.recv(16384):
                self.send(BINARY, b"\0" + piece)
            self.send(CLOSE, b"")
        except (OSError, ValueError):
            pass  # one side has ended, or the other thread has closed its file

    def send(self, kind, content):
        length = bytes([len(content)]) if len(content) < 126 else b"\x7e" + struct.pack(">H", len(content))
        self.wfile.write(bytes([0x80 | kind]) + length + content)
        self.wfile.flush()

    def receive(self):
        """Returns the kind and the content of the client's next frame, which is masked. The kind is None at the end."""
        head = self.rfile.read(2)
        if len(head) < 2:
            return None, b""
        length = head[1] & 0x7F
        if length == 126:
            length = struct.unpack(">H", self.rfile.read(2))[0]
        elif length == 127:
            length = struct.unpack(">Q", self.rfile.read(8))[0]
        mask = self.rfile.read(4)
        content = self.rfile.read(length)
        return head[0] & 0x0F, bytes(byte ^ mask[at % 4] for at, byte in enumerate(content))
