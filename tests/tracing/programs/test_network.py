"""Bytes over sockets and retransmits, against what a process knows of its own."""

import json
import socket
import subprocess
import sys

import pytest

from gnomon.tracing.layouts import NetworkEvent, RecordKind
from gnomon.tracing.requirements import SINCE
from tests.tracing.programs.tracer import ALWAYS, NEEDS_PROGRAMS, Tracer, needs_linux, of_thread

pytestmark = [*NEEDS_PROGRAMS, needs_linux(SINCE["network"], "tracepoints of sockets")]

SENDS, BYTES = 23, 100_000
# Speaks with itself over loopback, by one family of addresses; prints what it knows as JSON.
PROGRAM = """
import ctypes, json, os, socket, struct, sys, threading
family, sends, size, drops = map(int, sys.argv[1:])
host = "::1" if family == socket.AF_INET6 else "127.0.0.1"
listener = socket.create_server((host, 0), family=family)
print(os.getpid(), flush=True)
sys.stdin.readline()
client = socket.create_connection(listener.getsockname()[:2])
accepted, _ = listener.accept()
known = {"sender": threading.get_native_id()}

def receive():
    known["receiver"] = threading.get_native_id()
    left = sends * size
    accepted.recv(1, socket.MSG_PEEK)
    while left:
        left -= len(accepted.recv(1 << 20))
    accepted.send(b"done")

if drops:
    # SO_ATTACH_FILTER of one instruction, "return 0": segments are dropped where they arrive.
    code = ctypes.create_string_buffer(struct.pack("HBBI", 6, 0, 0, 0))
    accepted.setsockopt(socket.SOL_SOCKET, 26, struct.pack("HxxxxxxQ", 1, ctypes.addressof(code)))
    threading.Timer(0.8, accepted.setsockopt, (socket.SOL_SOCKET, 27, 0)).start()
threading.Thread(target=receive).start()
for _ in range(sends):
    client.sendall(bytes(size))
client.recv(4)
known["ports"] = client.getsockname()[1], client.getpeername()[1]
information = client.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 104)
(known["retransmits"],) = struct.unpack_from("I", information, 100)
print(json.dumps(known), flush=True)
sys.stdin.readline()
"""


@pytest.fixture
def talk():
    """A function that runs PROGRAM under a tracer: (tracer, totals, what the program knows)."""
    owned = []

    def run(family=socket.AF_INET, *, drops=False, prepare=lambda tracer: None):
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        numbers = (family, SENDS, BYTES, drops)
        command = [sys.executable, "-c", PROGRAM, *(str(int(number)) for number in numbers)]
        process = subprocess.Popen(command, **pipes)
        owned.append(process)
        tracer = Tracer(int(process.stdout.readline()))
        tracer.__enter__()
        owned.append(tracer)
        prepare(tracer)
        process.stdin.write("\n")
        process.stdin.flush()
        truth = json.loads(process.stdout.readline())
        return tracer, tracer.slots.read(), truth

    yield run
    for one in reversed(owned):
        if isinstance(one, Tracer):
            one.__exit__()
        else:
            one.communicate("\n", timeout=30)


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6])
def test_bytes_over_sockets_are_those_that_were_sent_and_received(talk, family):
    if family is socket.AF_INET6 and not socket.has_dualstack_ipv6():
        pytest.skip("no IPv6 here")
    tracer, taken, truth = talk(family)
    sender, _ = of_thread(taken, truth["sender"])
    receiver, _ = of_thread(taken, truth["receiver"])
    records = tracer.records(RecordKind.NETWORK, truth["sender"])
    sent = records[records["network_event"] == NetworkEvent.SENT]
    loopback = int.from_bytes(
        socket.inet_pton(family, "::1" if family is socket.AF_INET6 else "127.0.0.1"), "little"
    )

    assert sender["sent_bytes"] == receiver["received_bytes"] == SENDS * BYTES
    assert receiver["sent_bytes"] == sender["received_bytes"] == 4
    assert len(sent) == sender["sends"] >= SENDS
    assert sent["bytes"].sum() == SENDS * BYTES
    assert set(sent["family"]) == {family}
    assert {(row["local_port"], row["remote_port"]) for row in sent} == {tuple(truth["ports"])}
    assert {int(low) | int(high) << 64 for low, high in sent["remote"]} == {loopback}
    assert len(set(records["socket"])) == 1
    assert tracer.losses() == {}


def test_retransmits_belong_to_the_thread_that_used_the_socket(talk):
    tracer, taken, truth = talk(drops=True)
    sender, _ = of_thread(taken, truth["sender"])
    records = tracer.records(RecordKind.NETWORK, truth["sender"])
    again = records[records["network_event"] == NetworkEvent.RETRANSMITTED]

    # TCP's own number is of segments, of which a record may have several.
    assert 2 <= len(again) == sender["retransmits"] <= truth["retransmits"]
    assert {(row["local_port"], row["remote_port"]) for row in again} == {tuple(truth["ports"])}


def test_small_transfers_are_sampled_and_totals_have_all(talk):
    def keep(tracer):
        tracer.settings["network_threshold_bytes"] = BYTES
        tracer.settings["network_sample"] = ALWAYS // 4

    tracer, taken, truth = talk(prepare=keep)
    records = tracer.records(RecordKind.NETWORK)
    small = records[records["bytes"] < BYTES]

    assert of_thread(taken, truth["sender"])[0]["sent_bytes"] == SENDS * BYTES
    assert set(small["sample"]) <= {ALWAYS // 4}
    assert not records[records["bytes"] >= BYTES]["sample"].any()
