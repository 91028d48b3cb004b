#!/usr/bin/env python3
"""Who gets into the daemon's iSCSI targets, what they see there, and how their sessions end."""

import base64
import hashlib
import os
import signal
import socket
import struct
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(HERE, "..", "e2e"), os.path.join(HERE, ".."), HERE]

import tap  # noqa: E402
from node import Node, Port, until  # noqa: E402
from iscsi_wire import *  # noqa: E402,F403

MIB = 1 << 20
IQN = "iqn.2026-11.org.example:disks"
FRIEND = "iqn.1994-05.org.example:friend"
FRIENDS = "iqn.2026-11.org.example:friends"
LOCKED = "iqn.2026-11.org.example:locked"
SECRET, MUTUAL = "twelve bytes or more", "another twelve bytes"
node = None
PORTS = [Port()]


class Port6(Port):
    def __init__(self):
        self.socket = socket.socket(socket.AF_INET6)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(("::1", 0))
        self.address = f"[::1]:{self.socket.getsockname()[1]}"


PORTS.append(Port6())  # every Linux has it unless it was turned off
V6 = PORTS[1].address


def session(target=IQN, **more):
    return Session(node.listen["iscsi"], target, **more)


def ready(target=IQN, lun=0, **more):
    return session(target, **more).ready(lun)


def report_luns(s):
    data = s.good(struct.pack(">BBBBBBIBB", 0xa0, 0, 0, 0, 0, 0, 4096, 0, 0), b"", 4096)
    assert struct.unpack(">I", data[:4])[0] == len(data) - 8
    return [data[at + 1] for at in range(8, len(data), 8)]


def naa(s, lun):
    return s.good(bytes([0x12, 1, 0x83, 0, 255, 0]), b"", 255, lun=lun)[8:16].hex()


class Login(Raw):
    """A login in steps; each returns the status and the keys of the answer."""

    def __init__(self, target, initiator=INITIATOR, source=None, **keys):
        super().__init__(node.listen["iscsi"], source=source)
        self.names = {"InitiatorName": initiator, "SessionType": "Normal", "TargetName": target,
                      **keys}

    def step(self, keys, csg=0, nsg=0, transit=False):
        self.send(self.login_pdu({**self.names, **keys}, csg, nsg, transit))
        self.names = {}
        p = self.receive()
        assert p.opcode == LOGIN_RESPONSE, p
        return p.f36 >> 16, pairs(p.data)

    def challenge(self, algorithms):
        status, keys = self.step({"AuthMethod": "CHAP,None"})
        if status:
            return status, keys
        assert keys["AuthMethod"] == "CHAP" and keys["TargetPortalGroupTag"] == "1", keys
        return self.step({"CHAP_A": algorithms})


DIGESTS = {5: hashlib.md5, 6: hashlib.sha1, 7: hashlib.sha256, 8: hashlib.sha3_256}


def proof(algorithm, number, secret, challenge):
    return DIGESTS[int(algorithm)](bytes([int(number)]) + secret.encode() +
                                   bytes.fromhex(challenge.removeprefix("0x"))).digest()


def chap(login, secret=SECRET, algorithms="8,7,6,5", user="user", base64_form=False, **more):
    """The whole exchange; returns the last status and keys, and what was asked."""
    status, asked = login.challenge(algorithms)
    if status:
        return status, {}, asked
    response = proof(asked["CHAP_A"], asked["CHAP_I"], secret, asked["CHAP_C"])
    text = "0b" + base64.b64encode(response).decode() if base64_form else "0x" + response.hex()
    status, keys = login.step({"CHAP_N": user, "CHAP_R": text, **more}, nsg=3, transit=True)
    return status, keys, asked


# ---- what an initiator sees


def test_an_initiator_with_luns_of_its_own_sees_exactly_those():
    naas = {x["volume"]: x["naa"].removeprefix("naa.")
            for x in node.json("target", "show", IQN)["luns"]}
    with ready() as other, ready(initiator=FRIEND) as friend:
        other.ready(1)
        assert report_luns(other) == report_luns(friend) == [0, 1]
        node.vstore("target", "map", IQN, "--initiator", FRIEND, "--volume", "b:0")
        node.vstore("target", "map", IQN, "--initiator", FRIEND, "--volume", "a:7", "--read-only")
        # another unit is there now, and the list is another
        assert [friend.call(bytes(6)).asc for _ in range(3)] == [0x2900, 0x3f0e, 0]
        friend.ready().ready(7)
        assert report_luns(friend) == [0, 7]
        assert naa(friend, 0) == naas["b"] and naa(friend, 7) == naas["a"]
        assert friend.call(bytes(6), lun=1).asc == 0x2500
        friend.write(0, b"\1" * 512)
        r = friend.call(write10(0, 1), bytes(512), lun=7)
        assert (r.key, r.asc) == (7, 0x2700), r
        # nothing changed for the other: it is told nothing, and sees what the friend wrote
        assert other.call(bytes(6)).status == other.call(bytes(6), lun=1).status == GOOD
        assert report_luns(other) == [0, 1]
        assert other.read(0, 1, lun=1) == b"\1" * 512
        node.vstore("target", "unmap", IQN, "--initiator", FRIEND, "--volume", "b:0")
        node.vstore("target", "unmap", IQN, "--initiator", FRIEND, "--volume", "a:7")
        friend.ready().ready(1)
        assert report_luns(friend) == [0, 1] and naa(friend, 0) == naas["a"]
        assert other.call(bytes(6)).status == GOOD


def test_a_changed_lun_is_told_to_whom_it_concerns_and_once():
    with ready() as s:
        s.ready(1)
        node.vstore("target", "map", IQN, "--volume", "b:9")
        for lun in (0, 1):
            r = s.call(bytes(6), lun=lun)
            assert (r.status, r.key, r.asc) == (CHECK_CONDITION, 6, 0x3f0e), r
            assert s.call(bytes(6), lun=lun).status == GOOD
        node.vstore("target", "unmap", IQN, "--volume", "b:9")
        assert s.call(bytes(6)).asc == 0x3f0e
        report_luns(s)  # clears it on the other LUN (SPC-4, 6.33)
        assert s.call(bytes(6), lun=1).status == GOOD


def test_one_volume_is_one_unit_under_each_of_its_luns():
    """A reservation holds against an initiator that sees the volume under another number."""
    node.vstore("target", "map", IQN, "--initiator", FRIEND, "--volume", "a:5")
    with ready() as s, ready(initiator=FRIEND, lun=5) as friend:
        s.good(bytes([0x16, 0, 0, 0, 0, 0]))  # RESERVE(6)
        assert friend.call(write10(0, 1), bytes(512), lun=5).status == RESERVATION_CONFLICT
        s.good(bytes([0x17, 0, 0, 0, 0, 0]))
        assert friend.call(write10(0, 1), bytes(512), lun=5).status == GOOD
        friend.task_request(LUN_RESET, lun=5)
        assert friend.receive().header[2] == 0
        assert s.call(bytes(6)).asc == 0x2903
    node.vstore("target", "unmap", IQN, "--initiator", FRIEND, "--volume", "a:5")


def test_luns_of_one_initiator_survive_a_restart():
    node.vstore("target", "map", IQN, "--initiator", FRIEND, "--volume", "b:3")
    node.stop()
    node.start()
    with ready(initiator=FRIEND, lun=3) as friend, ready() as other:
        assert report_luns(friend) == [3] and report_luns(other) == [0, 1]
    node.vstore("target", "unmap", IQN, "--initiator", FRIEND, "--volume", "b:3")


# ---- who gets in


def test_every_registered_algorithm_lets_in_who_knows_the_secret():
    for algorithm in DIGESTS:
        for form in (False, True):
            with Login(LOCKED) as login:
                status, _, asked = chap(login, algorithms=str(algorithm), base64_form=form)
                assert (status, asked["CHAP_A"]) == (0, str(algorithm)), status
    # the initiator's order is its preference; what is not registered is passed over
    for offered, chosen in (("8,7,6,5", "8"), ("5,8", "5"), ("1,99,7,5", "7")):
        with Login(LOCKED) as login:
            status, _, asked = chap(login, algorithms=offered)
            assert (status, asked["CHAP_A"]) == (0, chosen), asked
    sessions = node.json("target", "sessions", LOCKED)
    assert sessions == [] or all(s["authenticated"] for s in sessions)


def test_the_target_proves_itself_by_each_algorithm():
    mine = "0x" + bytes(range(24)).hex()
    for algorithm in DIGESTS:
        with Login(LOCKED) as login:
            status, keys, _ = chap(login, algorithms=str(algorithm), CHAP_I="77", CHAP_C=mine)
            assert status == 0 and keys["CHAP_N"] == "target", keys
            assert keys["CHAP_R"] == "0x" + proof(algorithm, 77, MUTUAL, mine).hex(), keys
    with Login(LOCKED) as login:  # a challenge without its number
        assert chap(login, CHAP_C=mine)[0] == 0x0201


def test_reflection_is_refused():
    """RFC 7143, 9.2.1: neither our challenge nor our own answer lets anybody in."""
    with Login(LOCKED, source="127.0.0.9") as victim, \
            Login(LOCKED, source="127.0.0.9") as attacker:
        _, asked = victim.challenge("7")
        # ours sent back in the same session
        status, keys = victim.step({"CHAP_N": "user", "CHAP_R": "0x" + bytes(32).hex(),
                                    "CHAP_I": asked["CHAP_I"], "CHAP_C": asked["CHAP_C"]},
                                   nsg=3, transit=True)
        assert status == 0x0201 and "CHAP_R" not in keys
        # without the secret, not even the other session's challenge gets an answer
        attacker.challenge("7")
        status, keys = attacker.step({"CHAP_N": "user", "CHAP_R": "0x" + bytes(32).hex(),
                                      "CHAP_I": asked["CHAP_I"], "CHAP_C": asked["CHAP_C"]},
                                     nsg=3, transit=True)
        assert status == 0x0201 and "CHAP_R" not in keys
    same = os.path.join(node.state, "secret")
    other = "iqn.2026-11.org.example:other"
    for args in (("create", other, "--chap-user", "u", "--chap-secret-file", same, "--mutual-user",
                  "t", "--mutual-secret-file", same),
                 # nor may the secret of one target's initiators be another target's own
                 ("create", other, "--chap-user", "u", "--chap-secret-file",
                  os.path.join(node.state, "mutual"))):
        assert "secret" in node.refused("target", *args)
    assert other not in str(node.json("target", "list"))


def test_chap_is_not_passed_by():
    hosts = iter(range(20, 30))

    def fresh():  # so that no attempt waits for those before
        i = next(hosts)
        return Login(LOCKED, f"iqn.1994-05.org.example:n{i}", source=f"127.0.0.{i}")
    for keys, csg in (({"AuthMethod": "None"}, 0), ({}, 1), ({"AuthMethod": "SRP"}, 0)):
        with fresh() as login:
            status, _ = login.step(keys, csg=csg, nsg=3, transit=True)
            assert status == 0x0201, status
            assert login.closed()
    for more in ({"secret": "not the secret"}, {"user": "somebody"}, {"algorithms": "4,9"}):
        with fresh() as login:
            assert chap(login, **more)[0] == 0x0201
            assert login.closed()


def test_a_flood_of_failures_slows_its_address_and_nobody_else():
    source = "127.0.0.7"
    for i in range(3):
        with Login(LOCKED, source=source) as login:
            assert chap(login, secret=f"guess number {i}")[0] == 0x0201
    logins = [Login(LOCKED, source=source) for _ in range(20)]
    started = time.monotonic()
    for login in logins:
        login.send(login.login_pdu({**login.names, "AuthMethod": "CHAP"}, 0, 0, False))
    # the same name from elsewhere gets in meanwhile, and so does another name
    with Login(LOCKED, source="127.0.0.6") as login:
        assert chap(login)[0] == 0
    with ready(initiator=FRIEND):
        pass
    statuses = [login.receive().f36 >> 16 for login in logins]
    seconds = time.monotonic() - started  # one a second, however slow this machine is
    for login in logins:
        login.sock.close()
    assert statuses.count(0) <= seconds + 2 and set(statuses) == {0, 0x0301}, (statuses, seconds)
    with Login(LOCKED, source=source) as login:  # it is slow, but not locked out
        assert chap(login)[0] == 0
    with Login(LOCKED, source=source) as login:  # and known from then on
        assert chap(login)[0] == 0
    events = [e for e in node.json("event", "list") if e["kind"] == "target.login-failed"]
    assert any(e["subject"] == LOCKED and INITIATOR in e["message"] and source in e["message"]
               and e["severity"] == "warning" for e in events), events
    assert len(events) <= 20, events


def test_no_secret_is_shown():
    log = node.log_text()
    shown = node.vstore("target", "show", LOCKED) + str(node.json("target", "show", LOCKED))
    for secret in (SECRET, MUTUAL, "guess number"):
        assert secret not in log and secret not in shown


def test_a_login_that_has_begun_does_not_pass_what_was_set_meanwhile():
    secret = os.path.join(node.state, "secret")
    for change, back, status in ((("--chap-user", "user", "--chap-secret-file", secret),
                                  ("--no-chap",), 0x0201),
                                 (("--redirect", "192.0.2.7:3260"), ("--no-redirect",), 0x0301)):
        with Login(FRIENDS, FRIEND, source="127.0.0.5") as login:
            assert login.step({}, csg=1)[0] == 0
            node.vstore("target", "set", FRIENDS, *change)
            assert login.step({}, csg=1, nsg=3, transit=True)[0] == status
            assert login.closed()
        node.vstore("target", "set", FRIENDS, *back)


# ---- portals


def addresses(s, target):
    """What SendTargets says of a target: its addresses in order."""
    found, name = [], None
    for p in s.text({"SendTargets": "All"}).data.split(b"\0"):
        key, _, value = p.decode().partition("=")
        if key == "TargetName":
            name = value
        elif key and name == target:
            found.append(value)
    return found


def test_discovery_lists_the_portals_of_the_targets_groups():
    v4, second, v6 = (node.listen["iscsi"], PORTS[0].address, V6)
    with Session(v4, None) as s, Session(v6, None) as t:
        assert addresses(s, IQN) == [f"{v4},1", f"{second},2", f"{v6},2"]
        assert addresses(t, IQN) == [f"{v6},2", f"{v4},1", f"{second},2"]
        node.vstore("target", "set", IQN, "--portal-group", "2")
        assert addresses(s, IQN) == [f"{second},2", f"{v6},2"]
        assert Session(v4, IQN).status == 0x0203  # not served there
        for portal in (second, v6):
            with Session(portal, IQN) as n:
                assert n.status == 0 and n.keys["TargetPortalGroupTag"] == "2"
                assert addresses_of_own(n) == sorted([f"{second},2", f"{v6},2"])
        node.vstore("target", "set", IQN, "--portal-group", "0")


def test_a_session_that_stays_is_told_the_targets_new_ports():
    """REPORT TARGET PORT GROUPS of a session that began before the target's portal group changed."""
    def ports(s):
        data = s.good(struct.pack(">BB4xIBB", 0xa3, 0x0a, 255, 0, 0), b"", 255)
        return [struct.unpack(">H", data[at + 2:at + 4])[0] for at in range(12, len(data), 4)]
    with Session(PORTS[0].address, IQN).ready() as s:
        assert ports(s) == [1, 2]
        for group, tags in (("2", [2]), ("0", [1, 2])):
            node.vstore("target", "set", IQN, "--portal-group", group)
            until(lambda: ports(s) == tags, lambda: f"{ports(s)}, not {tags}", 20)
        assert s.call(bytes(6)).status == GOOD  # no unit attention: its LUNs are the same


def addresses_of_own(s):
    data = s.text({"SendTargets": ""}).data.split(b"\0")
    return sorted(p.decode().partition("=")[2] for p in data if p.startswith(b"TargetAddress="))


def test_ipv6_portals_serve():
    with Session(V6, IQN).ready() as s:
        s.write(3, b"\7" * 4096)
        assert s.read(3, 8) == b"\7" * 4096
        shown = node.json("target", "sessions", IQN)
        assert [x["address"].startswith("[::1]:") and x["portal_group"] for x in shown] == [2]
        s.logout()


def test_a_target_that_has_moved_says_where():
    with ready() as s:
        for args, status, address in ((("--redirect", "192.0.2.7:3260"), 0x0101, "192.0.2.7:3260"),
                                      (("--redirect", "[2001:db8::7]:3261,4", "--permanent"), 0x0102,
                                       "[2001:db8::7]:3261,4")):
            node.vstore("target", "set", IQN, *args)
            p = s.receive()
            assert p.opcode == ASYNC and p.header[36] == 1, p  # please log out
            with session(initiator=FRIEND) as n:
                assert n.status == status and n.keys == {"TargetAddress": address}, n.keys
                assert n.closed()
        assert node.json("target", "show", IQN)["redirect"] == {"address": address,
                                                                "permanent": True}
        s.read(0, 1)  # who does not go is still served
        node.vstore("target", "set", IQN, "--no-redirect")
        assert session(initiator=FRIEND).status == 0
        for bad in ("192.0.2.7", "192.0.2.7:0", "a b:3260", "2001:db8::7:3260", "[::1:3260",
                    "h:3260,x", "h:70000", ":3260", "h:3260,70000"):
            assert "IPv6" in node.refused("target", "set", IQN, "--redirect", bad), bad


# ---- one connection a session


def test_a_second_connection_to_a_session_is_refused():
    with ready() as s:
        tsih = node.json("target", "sessions", IQN)[0]["tsih"]
        assert s.keys.get("MaxConnections") is None
        names = {"InitiatorName": INITIATOR, "TargetName": IQN, "SessionType": "Normal"}
        for keys, more, status in ((names, {}, 0x0206),
                                   (names, {"isid": b"\x80\0\0\0\0\x77"}, 0x020a),
                                   ({**names, "InitiatorName": FRIEND}, {}, 0x020a),
                                   (names, {"tsih": tsih ^ 1}, 0x020a)):
            with Raw(node.listen["iscsi"]) as r:
                r.send(r.login_pdu(keys, **{"tsih": tsih, **more}))
                assert r.receive().f36 >> 16 == status, (more, status)
                assert r.closed()
        assert s.call(bytes(6)).status == GOOD
    with session(MaxConnections="8") as s:
        assert s.keys["MaxConnections"] == "1"


def test_acknowledging_what_was_not_sent_ends_the_session():
    with ready() as s:
        s.exp_stat_sn += 2
        s.send(s.pdu(NOP_OUT, immediate=True))
        assert s.closed()
    with ready() as s:  # to be behind is no error: an initiator may have to catch up
        s.exp_stat_sn -= 1
        assert s.call(bytes(6)).status == GOOD


# ---- what nobody should say


def alive():
    with ready(FRIENDS, initiator=FRIEND) as s:
        s.read(0, 1)
        s.logout()


def test_a_gap_in_command_numbers_ends_the_session():
    """One connection, in order: what is missing can never come (RFC 7143, 4.2.2.1)."""
    with ready() as s:
        s.send(s.pdu(COMMAND, 0x80, cmd_sn=s.cmd_sn + 1, word20=0, tail=bytes(16)))
        assert s.closed()
    with ready() as s:  # immediate ones do not take a number
        for _ in range(3):
            assert s.call(bytes(6), immediate=True).status == GOOD
        assert s.call(bytes(6)).status == GOOD
    alive()


def test_additional_header_segments_are_taken_in_whole():
    """Extended CDBs, read data lengths and unknown ones: commands are found behind them."""
    with ready(HeaderDigest="CRC32C") as s:
        for ahs in (struct.pack(">HBB", 17, 1, 0) + bytes(16), struct.pack(">HBBI", 5, 2, 0, 4096),
                    b"\xff" * 1020, struct.pack(">HBB", 0, 0x3f, 0), bytes(4)):
            s.send(s.pdu(COMMAND, 0xc1, word20=4096, tail=read10(0, 8).ljust(16, b"\0"), ahs=ahs))
            s.itt, s.cmd_sn = s.itt + 1, s.cmd_sn + 1
            assert len(s.finish(s.itt - 1).data) == 4096
    alive()


def test_text_of_several_pdus():
    with session(None) as s:
        text, ttt = b"SendTargets=All\0", NO_TAG
        for at in range(len(text) - 1):
            s.send(s.pdu(TEXT, 0x40, text[at:at + 1], immediate=True, word20=ttt))
            p = s.receive()
            assert p.opcode == TEXT_RESPONSE and p.flags == 0 and p.ttt != NO_TAG and not p.data, p
            ttt = p.ttt
        s.send(s.pdu(TEXT, 0x80, text[-1:], immediate=True, word20=ttt))
        p = s.receive()
        assert p.opcode == TEXT_RESPONSE and p.flags == 0x80 and IQN.encode() in p.data, p
        s.send(s.pdu(TEXT, 0x40, b"SendTa", immediate=True))
        ttt = s.receive().ttt
        s.send(s.pdu(TEXT, 0x80, b"", immediate=True, word20=ttt ^ 1))  # another's tag
        assert s.receive().opcode == REJECT
        assert IQN.encode() in s.text({"SendTargets": "All"}).data  # and all begins anew


def test_text_without_end_is_rejected():
    with session(None) as s:
        ttt = NO_TAG
        for _ in range(20):
            s.send(s.pdu(TEXT, 0x40, b"X" * 1000, immediate=True, word20=ttt))
            p = s.receive()
            if p.opcode == REJECT:
                break
            ttt = p.ttt
        assert p.opcode == REJECT
        for text in (b"=\0", b"nothing\0", b"no end", b"K" * 100 + b"=1\0",
                     b"MaxBurstLength=4096\0"):
            s.send(s.pdu(TEXT, 0x80, text, immediate=True))
            assert s.receive().opcode == REJECT, text
        assert s.text({"X-org.example": "1"}).data == b"X-org.example=NotUnderstood\0"
    alive()


def test_answers_to_keys_that_are_out_of_range():
    rejected = {"MaxBurstLength": "511", "FirstBurstLength": "16777216", "MaxConnections": "0",
                "DefaultTime2Wait": "3601", "ErrorRecoveryLevel": "3", "InitialR2T": "yes",
                "ImmediateData": "", "HeaderDigest": "MD5", "MaxOutstandingR2T": "-1",
                "DataPDUInOrder": "1", "DefaultTime2Retain": "x"}
    with session(**rejected) as s:
        assert s.status == 0
        assert {k: s.keys[k] for k in rejected} == {k: "Reject" for k in rejected}, s.keys
    with session(**{"X-org.example.key": "1", "TaskReporting": "FastAbort"}) as s:
        assert s.keys["X-org.example.key"] == s.keys["TaskReporting"] == "NotUnderstood"
    with session(None, MaxBurstLength="4096", InitialR2T="No") as s:
        assert s.keys["MaxBurstLength"] == s.keys["InitialR2T"] == "Irrelevant"


def test_a_negotiation_that_does_not_end_is_ended():
    with Login(IQN) as login:
        login.step({})
        with_answer = 0
        try:
            while with_answer < 1000:
                login.step({f"X-k{with_answer}": "1"})
                with_answer += 1
        except Closed:
            pass
        assert with_answer < 100
    with Login(IQN) as login:  # more keys than an answer holds
        login.send(login.login_pdu(login.names, 0, 0, False, text=b"".join(
            f"X-{i}=1\0".encode() for i in range(700))))
        p = login.receive()
        assert p.opcode == LOGIN_RESPONSE and p.f36 >> 24 == 2, p
        assert login.closed()
    alive()


def test_what_stops_in_the_middle_is_waited_for_and_hurts_nobody():
    """Half-open connections and halves of PDUs stand beside a session that goes on."""
    held = [Raw(node.listen["iscsi"]) for _ in range(30)]
    for i, r in enumerate(held):
        r.send(r.login_pdu({"InitiatorName": INITIATOR, "TargetName": IQN})[:i * 4])
    for i in range(5):
        s = ready(FRIENDS, isid=bytes([0x80, 0, 0, 0, 9, i]))
        s.send(s.pdu(COMMAND, 0xa1, bytes(4096), word20=4096,
                     tail=write10(0, 8).ljust(16, b"\0"))[:48 + i * 1000])
        held.append(s)
    with ready() as s:
        for i in range(50):
            s.write(i, bytes([i]) * 512)
        assert s.read(0, 50) == b"".join(bytes([i]) * 512 for i in range(50))
    for r in held:
        r.sock.close()
    until(lambda: not node.json("target", "sessions", FRIENDS), "sessions stay")
    alive()


# ---- the end


def test_a_stop_asks_for_logout_and_waits_for_it():
    def stop(answer):
        with ready() as polite, ready(isid=b"\x80\0\0\0\0\x33") as deaf, session(None) as discovers:
            node.process.send_signal(signal.SIGTERM)
            for s in (polite, deaf):
                p = s.receive()
                assert p.opcode == ASYNC and p.itt == NO_TAG and p.header[36] == 1, p
                assert struct.unpack(">H", p.header[42:44])[0] == 3  # seconds
            polite.write(9, b"\3" * 512)  # served until it goes
            polite.logout()
            assert polite.closed() and discovers.closed()
            if answer:
                deaf.logout()
            else:
                p = deaf.receive()
                assert p.opcode == ASYNC and p.header[36] == 3, p
            assert deaf.closed()
        assert node.process.wait(60) == 0
        node.process = None
        node.start()
    stop(True)
    stop(False)
    with ready() as s:
        assert s.read(9, 1) == b"\3" * 512


def main():
    global node
    with Node(nbd=False, options=("--iscsi", f"2@{PORTS[0].address}", "--iscsi",
                                  f"2@{V6}")) as node:
        for name in ("a", "b"):
            node.vstore("volume", "create", name, "--size", str(64 * MIB))
        node.vstore("target", "create", IQN, "--volume", "a:0", "--volume", "b:1")
        node.vstore("target", "create", FRIENDS, "--volume", "b:0")
        files = {}
        for name, secret in (("secret", SECRET), ("mutual", MUTUAL)):
            files[name] = os.path.join(node.state, name)
            with open(os.open(files[name], os.O_CREAT | os.O_WRONLY, 0o600), "w") as f:
                f.write(secret)
        node.vstore("target", "create", LOCKED, "--volume", "a:0", "--chap-user", "user",
                    "--chap-secret-file", files["secret"], "--mutual-user", "target",
                    "--mutual-secret-file", files["mutual"])
        tap.run(*(f for name, f in list(globals().items()) if name.startswith("test_")))


if __name__ == "__main__":
    main()
