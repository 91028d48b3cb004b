"""A small iSCSI initiator for tests: it says what a test tells it to, right or wrong.

Independent of the server's code; the numbers are those of RFC 7143, SPC-4 and SBC-3.
"""

import socket
import struct

NOP_OUT, COMMAND, TASK, LOGIN, TEXT, DATA_OUT, LOGOUT, SNACK = 0, 1, 2, 3, 4, 5, 6, 0x10
NOP_IN, RESPONSE, TASK_RESPONSE, LOGIN_RESPONSE, TEXT_RESPONSE, DATA_IN, LOGOUT_RESPONSE = (
    0x20, 0x21, 0x22, 0x23, 0x24, 0x25, 0x26)
R2T, ASYNC, REJECT = 0x31, 0x32, 0x3f
ABORT_TASK, ABORT_TASK_SET, CLEAR_TASK_SET, LUN_RESET, WARM_RESET, COLD_RESET = 1, 2, 4, 5, 6, 7
NO_TAG = 0xffffffff
GOOD, CHECK_CONDITION, RESERVATION_CONFLICT = 0, 2, 0x18
PATIENCE = 60  # seconds; a bound on waiting, not a verdict on speed
INITIATOR = "iqn.1994-05.org.example:wire"

CRC = []
for _i in range(256):
    for _ in range(8):
        _i = _i >> 1 ^ (0x82f63b78 if _i & 1 else 0)
    CRC.append(_i)


def crc32c(data):
    crc = 0xffffffff
    for b in data:
        crc = crc >> 8 ^ CRC[(crc ^ b) & 255]
    return struct.pack("<I", crc ^ 0xffffffff)


class Closed(Exception):
    """The target has ended the connection."""


class Pdu:
    def __init__(self, header, data):
        self.header, self.data = header, data
        self.opcode, self.flags = header[0] & 0x3f, header[1]
        self.itt, self.ttt, self.stat_sn, self.exp_cmd_sn, self.max_cmd_sn = struct.unpack(
            ">5I", header[16:36])
        self.f36, self.f40, self.f44 = struct.unpack(">3I", header[36:48])

    def __repr__(self):
        return f"PDU {self.opcode:#x} {self.header.hex()} +{len(self.data)}"


class Result:
    """What a SCSI command came to."""

    def __init__(self, status, data, sense, residual):
        self.status, self.data, self.residual, self.sense = status, data, residual, sense
        fixed = sense and sense[0] & 0x7e == 0x70
        self.key = sense[2 if fixed else 1] & 15 if sense else 0
        at = 12 if fixed else 2
        self.asc = struct.unpack(">H", sense[at:at + 2])[0] if sense else 0
        self.information = struct.unpack(">I", sense[3:7])[0] if fixed else 0

    def __repr__(self):
        return f"status {self.status:#x} key {self.key:#x} asc {self.asc:#06x} {len(self.data)} B"


class Raw:
    """A connection on which nothing has been said."""

    def __init__(self, address, wait=PATIENCE, source=None):
        host, _, port = address.rpartition(":")
        self.sock = socket.create_connection((host.strip("[]"), int(port)), wait,
                                             source and (source, 0))
        self.sock.settimeout(wait)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.header_digest = self.data_digest = False
        self.cmd_sn = self.itt = 1
        self.exp_stat_sn = 0

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

    def pdu(self, opcode, flags=0x80, data=b"", immediate=False, lun=0, itt=None, word20=NO_TAG,
            cmd_sn=None, tail=b"", ahs=b"", bytes2=b"\0\0", spoil=None):
        """Encodes one PDU. tail: header bytes from 32 on. spoil: "header" or "data" digest."""
        itt = self.itt if itt is None else itt
        cmd_sn = self.cmd_sn if cmd_sn is None else cmd_sn
        header = struct.pack(">BB2sB3sQIIII", opcode | (0x40 if immediate else 0), flags, bytes2,
                             len(ahs) // 4, len(data).to_bytes(3, "big"),
                             lun << 48 if lun < 256 else lun, itt, word20, cmd_sn,
                             self.exp_stat_sn) + tail.ljust(16, b"\0") + ahs
        out = header
        if self.header_digest:
            out += crc32c(header if spoil != "header" else header + b"x")
        padded = data + bytes(-len(data) % 4)
        out += padded
        if data and self.data_digest:
            out += crc32c(padded if spoil != "data" else padded + b"x")
        return out

    def receive(self):
        header = self.take(48)
        length = int.from_bytes(header[5:8], "big")
        if self.header_digest:
            assert self.take(4) == crc32c(header)
        padded = self.take(length + -length % 4)
        if length and self.data_digest:
            assert self.take(4) == crc32c(padded)
        p = Pdu(header, padded[:length])
        if p.opcode not in (R2T,) and not (p.opcode == DATA_IN and not p.flags & 1) and \
                not (p.opcode == NOP_IN and p.itt == NO_TAG):
            self.exp_stat_sn = p.stat_sn + 1
        return p

    def closed(self):
        """Waits for the target to end the connection; what it still sends is dropped."""
        try:
            while True:
                self.take(1)
        except Closed:
            return True
        except TimeoutError:
            return False

    def login_pdu(self, keys, csg=1, nsg=3, transit=True, isid=b"\x80\0\0\0\0\1", tsih=0,
                  cont=False, version=0, text=None):
        if text is None:
            text = b"".join(f"{k}={v}".encode() + b"\0" for k, v in keys.items())
        flags = (0x80 if transit else 0) | (0x40 if cont else 0) | csg << 2 | nsg
        return struct.pack(">BBBBB3s6sHIHHII16x", LOGIN | 0x40, flags, version, version, 0,
                           len(text).to_bytes(3, "big"), isid, tsih, self.itt, 0, 0, self.cmd_sn,
                           self.exp_stat_sn) + text + bytes(-len(text) % 4)


def pairs(data):
    return dict(p.decode().split("=", 1) for p in data.split(b"\0") if p)


class Session(Raw):
    """A session, logged in without authentication."""

    def __init__(self, address, target, isid=b"\x80\0\0\0\0\1", initiator=INITIATOR, **keys):
        super().__init__(address)
        names = {"InitiatorName": initiator}
        if target:
            names.update(SessionType="Normal", TargetName=target)
        else:
            names.update(SessionType="Discovery")
        self.send(self.login_pdu({**names, **keys}, isid=isid))
        p = self.receive()
        assert p.opcode == LOGIN_RESPONSE, p
        self.status = p.f36 >> 16
        self.keys = pairs(p.data)
        if self.status == 0:
            assert p.flags == 0x87, p
        self.header_digest = self.keys.get("HeaderDigest") == "CRC32C"
        self.data_digest = self.keys.get("DataDigest") == "CRC32C"

    def start(self, cdb, out=b"", length=0, lun=0, immediate_data=None, final=True, attr=1,
              immediate=False, spoil=None, edtl=None):
        """Sends a command and returns its task tag; length: bytes expected back."""
        first = out if immediate_data is None else out[:immediate_data]
        flags = (0x80 if final else 0) | (0x40 if length else 0) | (0x20 if out else 0) | attr
        itt = self.itt
        self.send(self.pdu(COMMAND, flags, first, immediate, lun,
                           word20=edtl if edtl is not None else len(out) or length,
                           tail=cdb.ljust(16, b"\0"), spoil=spoil))
        self.itt += 1
        if not immediate:
            self.cmd_sn += 1
        return itt

    def finish(self, itt, out=b"", piece=8192):
        """Answers R2Ts from out, gathers data, returns the Result."""
        data = {}
        while True:
            p = self.receive()
            if p.itt != itt:
                raise AssertionError(f"unexpected {p}")
            if p.opcode == R2T:
                self.data_out(itt, p.ttt, out, p.f40, p.f44, piece)
            elif p.opcode == DATA_IN:
                data[p.f40] = p.data
                if p.flags & 1:
                    return Result(p.header[3], self.join(data), b"", self.residual(p))
            else:
                assert p.opcode == RESPONSE, p
                return Result(p.header[3], self.join(data), p.data[2:], self.residual(p))

    @staticmethod
    def residual(p):
        return p.f44 if p.flags & 4 else -p.f44 if p.flags & 2 else 0

    @staticmethod
    def join(data):
        out = b""
        for offset in sorted(data):
            assert offset == len(out), f"a gap before {offset}"
            out += data[offset]
        return out

    def data_out(self, itt, ttt, out, offset, length, piece=8192, data_sn=0, spoil=None):
        end = offset + length
        while offset < end:
            part = out[offset:min(offset + piece, end)]
            self.send(self.pdu(DATA_OUT, 0x80 if offset + len(part) == end else 0, part, itt=itt,
                               word20=ttt, cmd_sn=0, spoil=spoil,
                               tail=struct.pack(">III", 0, data_sn, offset)))
            offset += len(part)
            data_sn += 1

    def call(self, cdb, out=b"", length=0, lun=0, **more):
        limit = int(self.keys.get("FirstBurstLength", 65536))
        if self.keys.get("ImmediateData", "Yes") == "No":
            limit = 0
        itt = self.start(cdb, out, length, lun, immediate_data=min(limit, 65536), **more)
        return self.finish(itt, out)

    def good(self, cdb, out=b"", length=0, lun=0, **more):
        r = self.call(cdb, out, length, lun, **more)
        assert r.status == GOOD, r
        return r.data

    def ready(self, lun=0):
        """Takes all unit attentions."""
        for _ in range(8):
            if self.call(bytes(6), lun=lun).status == GOOD:
                return self
        raise AssertionError("unit attentions do not end")

    def read(self, lba, blocks, sector=512, lun=0):
        return self.good(struct.pack(">BBQIBB", 0x88, 0, lba, blocks, 0, 0), b"", blocks * sector,
                         lun)

    def write(self, lba, data, sector=512, lun=0, fua=False):
        self.good(write16(lba, len(data) // sector, fua), data, lun=lun)

    def task_request(self, function, lun=0, ref_itt=NO_TAG, immediate=True):
        self.send(self.pdu(TASK, 0x80 | function, immediate=immediate, lun=lun, word20=ref_itt))
        self.itt += 1
        if not immediate:
            self.cmd_sn += 1
        return self.itt - 1

    def text(self, keys):
        text = b"".join(f"{k}={v}".encode() + b"\0" for k, v in keys.items())
        self.send(self.pdu(TEXT, 0x80, text, immediate=True))
        self.itt += 1
        return self.receive()

    def logout(self):
        self.send(self.pdu(LOGOUT, 0x80, immediate=True))
        self.itt += 1
        p = self.receive()
        assert p.opcode == LOGOUT_RESPONSE and p.header[2] == 0, p


def read10(lba, blocks):
    return struct.pack(">BBIBHB", 0x28, 0, lba, 0, blocks, 0)


def write10(lba, blocks):
    return struct.pack(">BBIBHB", 0x2a, 0, lba, 0, blocks, 0)


def write16(lba, blocks, fua=False):
    return struct.pack(">BBQIBB", 0x8a, 8 if fua else 0, lba, blocks, 0, 0)
