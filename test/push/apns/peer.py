"""An APNs on python3-h2 that plays a part: peer.py PART PORT CERT KEY.

It prints a line for each push: `took ID` when its request is whole, `answered
ID` when its answer leaves; and `connection NUMBER` for each connection.
"""
import os
import socket
import struct
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "..", "http2"))
sys.dont_write_bytecode = True

import h2.events  # noqa: E402
from peer import IDLE, Codes, main  # noqa: E402


def say(word, id):
    # One write for each line: connections are threads.
    os.write(1, f"{word} {id}\n".encode())


def text(value):
    return value if isinstance(value, str) else value.decode()


def begin(peer, streams=1000):
    say("connection", peer.number)
    peer.ids = {}
    peer.total = 0
    peer.patience = 0.2
    peer.start({Codes.MAX_CONCURRENT_STREAMS: streams})


def take(peer, event):
    """The stream of a push that is whole, in the order in which they came."""
    if isinstance(event, h2.events.RequestReceived):
        headers = {text(name): text(value) for name, value in event.headers}
        peer.ids[event.stream_id] = headers["apns-id"]
    elif isinstance(event, h2.events.StreamEnded):
        say("took", peer.ids[event.stream_id])
        peer.total += 1
        return event.stream_id


def answer(peer, stream):
    say("answered", peer.ids[stream])
    peer.answer(stream, [("apns-id", peer.ids[stream])])


def answer_all(peer):
    while peer.open:
        answer(peer, peer.open.pop(0))


def leave(peer):
    """Ends the connection with a TCP FIN. What still comes is read: with unread bytes it would be a RST."""
    peer.flush()
    peer.sock.shutdown(socket.SHUT_WR)
    peer.sock.settimeout(5)
    while peer.sock.recv(65536):
        pass
    raise SystemExit


def abort(peer):
    """Ends the connection with a TCP RST."""
    peer.flush()
    peer.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    os.close(peer.sock.detach())
    raise SystemExit


def goaway(peer, event):
    """Of each 10 pushes 5 are answered and 2 are not; the rest is refused, with a code and a reason."""
    if event is None:
        return begin(peer)
    if event is IDLE:
        return answer_all(peer)
    stream = take(peer, event)
    if stream is not None:
        peer.open.append(stream)
    if len(peer.open) == 10:
        for stream in peer.open[:5]:
            answer(peer, stream)
        peer.h2.close_connection(11, b'{"reason":"Shutdown"}', peer.open[6])
        leave(peer)


def ends(how):
    def part(peer, event):
        """Answers 30 of 40 pushes on its first five connections, and ends them; later ones are good."""
        if event is None:
            return begin(peer)
        if event is IDLE:
            return answer_all(peer)
        stream = take(peer, event)
        if stream is None:
            return
        if peer.number > 5 or peer.total <= 30:
            return answer(peer, stream)
        peer.open.append(stream)
        if len(peer.open) == 10:
            how(peer)
    return part


def resets(peer, event):
    """Resets two of three streams: one with a code that says nothing, one that was not processed."""
    if event is None:
        return begin(peer)
    stream = take(peer, event)
    if stream is None:
        return
    if peer.total % 3 == 0:
        answer(peer, stream)
    elif peer.total % 3 == 1:
        say("refused", peer.ids[stream])
        peer.h2.reset_stream(stream, 7)
    else:
        codes = [0, 1, 2, 5, 8, 11]
        peer.h2.reset_stream(stream, codes[peer.total // 3 % len(codes)])


def limits(peer, event):
    """1 stream until a push was answered, then 1000, after 200 more 1, after 200 more 1000, and so on."""
    if event is None:
        peer.limit = 1
        return begin(peer, 1)
    stream = take(peer, event)
    if stream is None:
        return
    answer(peer, stream)
    limit = 1000 if peer.total // 200 % 2 == 0 else 1
    if limit != peer.limit:
        peer.limit = limit
        peer.set(MAX_CONCURRENT_STREAMS=limit)


def refuses(peer, event):
    """APNs' answer to a wrong key, for every push."""
    if event is None:
        return begin(peer, 1)
    stream = take(peer, event)
    if stream is not None:
        peer.h2.send_headers(stream, [(":status", "403"), ("apns-id", peer.ids[stream])])
        peer.h2.send_data(stream, b'{"reason":"InvalidProviderToken"}', end_stream=True)


def bytewise(peer, event):
    """The answer is 410 with a body, of which the n-th connection gets the first n - 1 bytes, and the rest never."""
    if event is None:
        begin(peer)
        return
    stream = take(peer, event)
    if stream is None:
        return
    peer.flush()
    fields = [(":status", "410"), ("apns-id", peer.ids[stream])]
    peer.h2.send_headers(stream, fields)
    peer.h2.send_data(stream, b'{"reason":"Unregistered","timestamp":1700000000000}', end_stream=True)
    whole = peer.h2.data_to_send()
    sent = whole[:peer.number - 1]
    say("answered" if len(sent) == len(whole) else "cut", peer.ids[stream])
    peer.sock.sendall(sent)
    if len(sent) < len(whole):
        leave(peer)


def named(name, part):
    part.__name__ = name
    return part


main(goaway, named("fin", ends(leave)), named("rst", ends(abort)), resets, limits, refuses, bytewise)
