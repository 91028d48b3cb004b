"""A small NBD client for tests: it says what a test tells it to, right or wrong.

Independent of the server's code; the numbers are those of the NBD protocol document.
"""

import socket
import struct

OPT_EXPORT_NAME, OPT_ABORT, OPT_LIST, OPT_STARTTLS, OPT_INFO, OPT_GO = 1, 2, 3, 5, 6, 7
OPT_STRUCTURED_REPLY, OPT_LIST_META_CONTEXT, OPT_SET_META_CONTEXT = 8, 9, 10
REP_ACK, REP_SERVER, REP_INFO, REP_META_CONTEXT = 1, 2, 3, 4
ERR_UNSUP, ERR_POLICY, ERR_INVALID, ERR_UNKNOWN, ERR_TOO_BIG = (
    1 << 31 | n for n in (1, 2, 3, 6, 9))
INFO_EXPORT, INFO_NAME, INFO_BLOCK_SIZE = 0, 1, 3
READ, WRITE, DISC, FLUSH, TRIM, CACHE, WRITE_ZEROES, BLOCK_STATUS = range(8)
FUA, NO_HOLE, DF, REQ_ONE = 1, 2, 4, 8
READ_ONLY, SEND_DF, CAN_MULTI_CONN = 1 << 1, 1 << 7, 1 << 8
EPERM, EIO, EINVAL, ENOSPC, EOVERFLOW = 1, 5, 22, 28, 75
SIMPLE_MAGIC, CHUNK_MAGIC, REQUEST_MAGIC = 0x67446698, 0x668e33ef, 0x25609513
OPTION_MAGIC, OPTION_REPLY_MAGIC = b"IHAVEOPT", 0x3e889045565a9
PATIENCE = 60  # seconds; a bound on waiting, not a verdict on speed


class Closed(Exception):
    """The server has ended the session."""


class Reply:
    """All chunks, or the simple reply, of one request."""

    def __init__(self):
        self.error, self.data, self.extents, self.chunks = 0, {}, [], 0

    def bytes(self, offset, length):
        out = bytearray(length)
        covered = 0
        for at, piece in self.data.items():
            out[at - offset:at - offset + len(piece)] = piece
            covered += len(piece)
        assert covered == length and len(out) == length, f"{covered} of {length} bytes came"
        return bytes(out)


class Client:
    def __init__(self, address, flags=3):
        """address: "HOST:PORT". flags None: the greeting is not answered."""
        host, _, port = address.rpartition(":")
        self.sock = socket.create_connection((host.strip("[]"), int(port)), PATIENCE)
        self.sock.settimeout(PATIENCE)
        self.structured, self.cookie, self.waiting = False, 0, {}
        if flags is None:
            return
        assert self.take(16) == b"NBDMAGICIHAVEOPT"
        assert struct.unpack(">H", self.take(2))[0] == 3
        self.send(struct.pack(">I", flags))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.sock.close()

    def send(self, data):
        try:
            self.sock.sendall(data)
        except (BrokenPipeError, ConnectionResetError):
            raise Closed from None

    def take(self, n):
        out = bytearray()
        while len(out) < n:
            try:
                piece = self.sock.recv(min(n - len(out), 1 << 20))
            except ConnectionResetError:
                raise Closed from None
            if not piece:
                raise Closed
            out += piece
        return bytes(out)

    def closed(self):
        """Whether the server ends the session without saying anything more."""
        try:
            return self.sock.recv(1) == b""
        except ConnectionResetError:
            return True

    # ---- options

    def option(self, number, data=b"", length=None, magic=OPTION_MAGIC):
        self.send(magic + struct.pack(">II", number, len(data) if length is None else length)
                  + data)

    def option_reply(self, number):
        magic, option, kind, length = struct.unpack(">QIII", self.take(20))
        assert magic == OPTION_REPLY_MAGIC and option == number, (magic, option)
        return kind, self.take(length)

    def ask(self, number, data=b""):
        """All replies to an option up to the last: its kind, and the data of those before."""
        self.option(number, data)
        before = []
        while True:
            kind, data = self.option_reply(number)
            if kind == REP_ACK or kind >> 31:
                return kind, before
            before.append((kind, data))

    @staticmethod
    def go_data(name, *infos):
        name = name.encode()
        return struct.pack(f">I{len(name)}sH{len(infos)}H", len(name), name, len(infos), *infos)

    @staticmethod
    def meta_data(name, *queries):
        name = name.encode()
        data = struct.pack(f">I{len(name)}sI", len(name), name, len(queries))
        return data + b"".join(struct.pack(">I", len(q)) + q.encode() for q in queries)

    def info(self, name, *infos, option=OPT_INFO):
        """(size, flags, (min, preferred, max), name) or the error."""
        kind, before = self.ask(option, self.go_data(name, *infos))
        if kind != REP_ACK:
            return kind
        size = flags = blocks = full = None
        for _, data in before:
            what = struct.unpack(">H", data[:2])[0]
            if what == INFO_EXPORT:
                size, flags = struct.unpack(">QH", data[2:])
            elif what == INFO_BLOCK_SIZE:
                blocks = struct.unpack(">III", data[2:])
            elif what == INFO_NAME:
                full = data[2:].decode()
        return size, flags, blocks, full

    def go(self, name, structured=True, status=False):
        if structured:
            assert self.ask(OPT_STRUCTURED_REPLY) == (REP_ACK, [])
            self.structured = True
        if status:
            kind, before = self.ask(OPT_SET_META_CONTEXT, self.meta_data(name, "base:allocation"))
            assert kind == REP_ACK and before == [(REP_META_CONTEXT, b"\0\0\0\1base:allocation")]
        answer = self.info(name, INFO_BLOCK_SIZE, option=OPT_GO)
        assert isinstance(answer, tuple), hex(answer)
        self.size, self.flags = answer[:2]
        return self

    # ---- requests

    def request(self, kind, offset=0, length=0, data=b"", flags=0, magic=REQUEST_MAGIC):
        """Sends without waiting; returns the cookie."""
        self.cookie += 1
        if kind != DISC:
            self.waiting[self.cookie] = Reply()
        self.send(struct.pack(">IHHQQI", magic, flags, kind, self.cookie, offset,
                              length or len(data)) + data)
        if kind == READ:
            self.waiting[self.cookie].range = (offset, length)
        return self.cookie

    def receive(self):
        """The next request to be answered completely: its cookie and Reply."""
        while True:
            magic = struct.unpack(">I", self.take(4))[0]
            if magic == SIMPLE_MAGIC:
                error, cookie = struct.unpack(">IQ", self.take(12))
                reply = self.waiting.pop(cookie)
                assert not (self.structured and hasattr(reply, "range")), "simple reply to READ"
                reply.error = error
                if hasattr(reply, "range") and not error:
                    reply.data[reply.range[0]] = self.take(reply.range[1])
                return cookie, reply
            assert magic == CHUNK_MAGIC and self.structured, hex(magic)
            flags, kind, cookie, length = struct.unpack(">HHQI", self.take(16))
            self.chunk(self.waiting[cookie], kind, self.take(length))
            if flags & 1:
                return cookie, self.waiting.pop(cookie)

    @staticmethod
    def chunk(reply, kind, data):
        reply.chunks += 1
        if kind == 1:
            reply.data[struct.unpack(">Q", data[:8])[0]] = data[8:]
        elif kind == 5:
            assert struct.unpack(">I", data[:4])[0] == 1
            reply.extents += struct.iter_unpack(">II", data[4:])
        elif kind == 1 << 15 | 1:
            reply.error, length = struct.unpack(">IH", data[:6])
            assert reply.error and length == len(data) - 6
        else:
            assert kind == 0 and not data, kind

    def wait(self, cookie):
        got, reply = self.receive()
        assert got == cookie, "an answer to another request"
        return reply

    def call(self, kind, offset=0, length=0, data=b"", flags=0):
        return self.wait(self.request(kind, offset, length, data, flags))

    def read(self, offset, length, flags=0):
        reply = self.call(READ, offset, length, flags=flags)
        assert reply.error == 0, reply.error
        return reply.bytes(offset, length)

    def write(self, offset, data, flags=0):
        reply = self.call(WRITE, offset, data=data, flags=flags)
        assert reply.error == 0, reply.error

    def disconnect(self):
        self.request(DISC)
        assert self.closed()
