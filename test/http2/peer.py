"""An HTTP/2 server on python3-h2 that plays a part: peer.py PART PORT CERT KEY.

h2 keeps count of what the client may do: where the client does not keep to it,
the exception is printed on stderr and the connection is cut.
"""
import itertools
import socket
import ssl
import sys
import threading
import traceback

import h2.config
import h2.connection
import h2.events
import h2.settings

Codes = h2.settings.SettingCodes
IDLE = object()


class Peer:
    """One connection. `number` counts them; the first is 1."""

    def __init__(self, sock, number):
        self.sock = sock
        self.number = number
        self.h2 = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False))
        self.answered = 0
        self.open = []
        #: The part is told when nothing has come for so many seconds.
        self.patience = None

    def answer(self, stream, headers=(), body=b""):
        fields = [(":status", "200")] + list(headers)
        self.h2.send_headers(stream, fields, end_stream=not body)
        if body:
            self.h2.send_data(stream, body, end_stream=True)
        self.answered += 1

    def start(self, settings):
        self.h2.local_settings = h2.settings.Settings(client=False, initial_values=settings)
        self.h2.initiate_connection()

    def set(self, **settings):
        self.h2.update_settings({getattr(Codes, name): value for name, value in settings.items()})

    def flush(self):
        self.sock.sendall(self.h2.data_to_send())

    def serve(self, part):
        part(self, None)
        self.flush()
        while True:
            self.sock.settimeout(self.patience)
            try:
                data = self.sock.recv(65536)
            except TimeoutError:
                part(self, IDLE)
                self.flush()
                continue
            if not data:
                return
            for event in self.h2.receive_data(data):
                part(self, event)
                self.flush()


def changing_limits(peer, event):
    """1 stream, then 50, then 1, and so on, each time after 40 answers. At 50 it answers when 25 are open."""
    if event is None:
        peer.high = False
        peer.start({Codes.MAX_CONCURRENT_STREAMS: 1})
    elif isinstance(event, h2.events.RequestReceived):
        peer.last = (":path", "/last") in event.headers or (b":path", b"/last") in event.headers
    elif isinstance(event, h2.events.StreamEnded):
        peer.open.append(event.stream_id)
        if peer.high and len(peer.open) < 25 and not peer.last:
            return
        while peer.open:
            peer.answer(peer.open.pop(0))
        if peer.answered >= 40:
            peer.answered = 0
            peer.high = not peer.high
            peer.set(MAX_CONCURRENT_STREAMS=50 if peer.high else 1)


def narrow_windows(peer, event):
    """Windows of 7 bytes, which grow as bodies are read; echoes bodies."""
    if event is None:
        peer.bodies = {}
        peer.start({Codes.INITIAL_WINDOW_SIZE: 7, Codes.MAX_CONCURRENT_STREAMS: 10})
    elif isinstance(event, h2.events.DataReceived):
        peer.bodies[event.stream_id] = peer.bodies.get(event.stream_id, b"") + event.data
        peer.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
    elif isinstance(event, h2.events.StreamEnded):
        peer.answer(event.stream_id, body=peer.bodies.pop(event.stream_id))


def tables(peer, event):
    """Headers for the dynamic table, some before it knows that there is none."""
    if event is None:
        peer.start({Codes.MAX_CONCURRENT_STREAMS: 10})
    elif isinstance(event, h2.events.StreamEnded):
        n = peer.answered
        peer.answer(event.stream_id, [("x-count", str(n)), ("x-same", "always"), ("x-mod-%d" % (n % 3), "v" * (n % 50))])


def goaway(peer, event):
    """Answers five of ten requests, then leaves with a reason: those after the seventh were not looked at."""
    if event is None:
        peer.start({Codes.MAX_CONCURRENT_STREAMS: 100})
    elif isinstance(event, h2.events.StreamEnded):
        peer.open.append(event.stream_id)
        if len(peer.open) == 10:
            for stream in peer.open[:5]:
                peer.answer(stream)
            peer.h2.close_connection(11, b'{"reason":"TooManyProviderTokenUpdates"}', peer.open[6])
            peer.flush()
            raise SystemExit


def talk(connection, context, part, number):
    try:
        with context.wrap_socket(connection, server_side=True) as secured:
            Peer(secured, number).serve(part)
    except (SystemExit, OSError):
        pass
    except Exception:
        traceback.print_exc()
    finally:
        connection.close()


def main(*parts):
    """Plays the part that the command names, on every connection."""
    name, port, cert, key = sys.argv[1:]
    part = {part.__name__: part for part in parts}[name]
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    context.set_alpn_protocols(["h2"])
    listener = socket.create_server(("127.0.0.1", int(port)), backlog=128)
    for number in itertools.count():
        connection, _ = listener.accept()
        # The first that comes only looks whether somebody listens.
        threading.Thread(target=talk, args=(connection, context, part, number), daemon=True).start()


if __name__ == "__main__":
    main(changing_limits, narrow_windows, tables, goaway)
