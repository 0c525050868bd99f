"""A program for another machine beside one for this machine, on the same directories and claims.

Usage: check.py NATIVE PROGRAM... (words, such as `qemu-arm target/.../stemedb-edge`). A directory goes
from NATIVE to PROGRAM and back with its index files; a claim survives kill -9; a log ends past 4 GiB;
signatures of either are believed by the other; the seed is a name that a name server knows. Needs
root for the last. Prints "N passed, M failed"; the exit code is 0 only if nothing failed."""

import contextlib
import json
import os
import re
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request

PATIENCE = 120
NAME, NAME_SERVER = "seed.stemedb.test", "127.0.18.53"
SEGMENT_BYTES = 64 << 20
# Segments that together have 4 GiB of positions.
SEGMENTS = (4 << 30) // SEGMENT_BYTES
IMPORTED, SIGNED = 2000, 50
passed = failed = 0


def expect(what, holds, shown=""):
    global passed, failed
    passed, failed = passed + bool(holds), failed + (not holds)
    if not holds:
        print(f"FAILED {what}: {shown}", flush=True)


def environment():
    return {name: text for name, text in os.environ.items() if not name.startswith("STEMEDB_")}


class Node:
    """A running node; an orderly stop at the end, unless it was killed."""

    def __init__(self, words, folder, *flags):
        self.folder = folder
        self.log_path = f"{folder}.log"
        flags = [f"--data-dir={folder}", "--anti-entropy-interval=off", *flags]
        flags += [f"--{flag}=127.0.0.1:0" for flag in ("bind-addr", "gateway-addr", "rpc-addr")]
        with open(self.log_path, "wb") as log:
            self.process = subprocess.Popen(words + flags, env=environment(), stderr=log, stdout=log)
        deadline = time.monotonic() + PATIENCE
        while not (found := dict(re.findall(r"\b(api|rpc)=(127\.0\.0\.1:\d+)", self.log()))):
            if time.monotonic() > deadline or self.process.poll() is not None:
                self.process.kill()
                raise SystemExit(f"{' '.join(words)} does not start:\n{self.log()}")
            time.sleep(0.02)
        self.http, self.rpc = found["api"], found["rpc"]

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        if kind is not None:
            self.process.kill()
            print(self.log(), flush=True)
        elif self.process.poll() is None:
            self.process.terminate()
            expect("an orderly stop", self.process.wait(timeout=PATIENCE) == 0, self.log())

    def kill(self):
        self.process.kill()
        self.process.wait()

    def log(self):
        with open(self.log_path, encoding="utf-8", errors="replace") as log:
            return log.read()

    def ask(self, path, body=None):
        kind = {"content-type": "application/json"}
        request = urllib.request.Request(f"http://{self.http}{path}", body, kind)
        try:
            with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            return error.code, json.load(error)

    def assert_all(self, bodies):
        statuses = {self.ask("/v1/assert", json.dumps(body).encode())[0] for body in bodies}
        expect("claims are taken", statuses == {201}, statuses)

    def root(self):
        health = self.ask("/v1/health")[1]
        return health["assertions_count"], health["merkle_root"]

    def known(self):
        """Assertions at the start, and how many of them were read from the kept index."""
        line = re.search(r"recovered assertions=(\d+) .* (\d+) by the kept index", self.log())
        return tuple(map(int, line.groups())) if line else self.log()

    def answers(self):
        lenses = "recency hlc confidence consensus authority".split()
        paths = [f"/v1/query?subject=s/1&predicate=p&lens={lens}" for lens in lenses]
        paths += ["/v1/query?subject=s/2", "/v1/query?predicate=many&limit=50"]
        paths += [f"/v1/{kind}?subject=s/1&predicate=p" for kind in ("skeptic", "layered")]
        answers = [self.ask(path) for path in paths]
        expect("queries are answered", {status for status, _ in answers} == {200}, answers)
        # A cursor is the node's own.
        return [(status, {**answer, "next_cursor": None}) for status, answer in answers]


def claims(start, count):
    """Claims of every kind of object and class, some about the same pair."""
    objects = [
        {"type": "Text", "value": "\u00fc text"},
        {"type": "Number", "value": -0.1},
        {"type": "Boolean", "value": True},
        {"type": "Reference", "value": "s/2"},
    ]
    return [
        {
            "subject": f"s/{number % 4}",
            "predicate": "p",
            "object": objects[number // 4 % 4],
            "confidence": number % 7 / 7,
            "source_class": number % 6,
            "source_hash": f"{number:064x}",
            "timestamp": 1_700_000_000 + number,
        }
        for number in range(start, start + count)
    ]


def lines(name, count):
    for number in range(count):
        body = claims(number, 1)[0]
        yield json.dumps({**body, "subject": f"{name}/{number}", "predicate": "many"}) + "\n"


def run(words, *more, given=None):
    done = subprocess.run(
        words + list(more), input=given, env=environment(), capture_output=True, text=True
    )
    expect(f"`{more[0]}` ends with 0", done.returncode == 0, done.stdout + done.stderr)
    return done.stdout


def carried(native, words, place):
    """A directory goes to the other machine and back, index files and all."""
    folder = os.path.join(place, "carried")
    with Node(native, folder) as node:
        node.assert_all(claims(0, 40))
        run(native, "import", "-", "--to", f"http://{node.http}", given="".join(lines("i", IMPORTED)))
        root, answers = node.root(), node.answers()
    key = os.path.join(place, "key")
    with Node(words, folder) as node:
        expect("all is known by the kept index", node.known() == (root[0], root[0]), node.known())
        expect("the root is the same", node.root() == root, (node.root(), root))
        expect("the answers are the same", node.answers() == answers, (node.answers(), answers))
        node.assert_all(claims(40, 40))
        run(words, "keygen", key)
        signed = "".join(lines("signed", SIGNED))
        run(words, "import", "-", "--key", key, "--to", f"http://{node.http}", given=signed)
        root, answers = node.root(), node.answers()
        node.kill()
    with Node(words, folder) as node:
        expect("nothing is lost by kill -9", node.root() == root, (node.root(), root))
        expect("nor an answer changed", node.answers() == answers, (node.answers(), answers))
    with Node(native, folder) as node:
        expect("all is known back here", node.known() == (root[0], root[0]), node.known())
        expect("the root is the same here", node.root() == root, (node.root(), root))
        expect("the answers are the same here", node.answers() == answers)
    run(words, "check", folder)
    run(native, "check", folder)
    # An import verifies signatures, and hashes what it is given.
    exported = run(words, "export", folder)
    with Node(native, os.path.join(place, "imported")) as node:
        run(native, "import", "-", "--to", f"http://{node.http}", given=exported)
        expect("an export is the same set", node.root() == root, (node.root(), root))


def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def write_empty_segments(folder):
    """A log of closed segments without a record (docs/journal-format.md), up to 4 GiB."""
    os.makedirs(os.path.join(folder, "log"))
    for number in range(SEGMENTS + 1):
        head = struct.pack("<8sIIQI", b"STEMEDGE", 1, 0, number, 32 if number else 0)
        with open(os.path.join(folder, "log", f"{number:010}.seg"), "wb") as segment:
            segment.write(head + struct.pack("<I", crc32c(head)))


def past_4_gib(native, words, place):
    """Positions and offsets of more than 32 bits, and the same claims in an empty directory here."""
    bodies = claims(0, 60)
    with Node(native, os.path.join(place, "short")) as node:
        node.assert_all(bodies)
        root, answers = node.root(), node.answers()
    folder = os.path.join(place, "long")
    write_empty_segments(folder)
    with Node(words, folder) as node:
        node.assert_all(bodies[:50])
        node.kill()
    with Node(words, folder) as node:
        node.assert_all(bodies[50:])
        expect("the same claims have the same root", node.root() == root, (node.root(), root))
        expect("and the same answers", node.answers() == answers, (node.answers(), answers))
    last = os.path.join(folder, "log", f"{SEGMENTS:010}.seg")
    expect("they lie past 4 GiB", os.path.getsize(last) > 60 * 40)
    for program in (words, native):
        with Node(program, folder) as node:
            expect("the log past 4 GiB is known", node.known() == (60, 60), node.known())
            expect("its answers are the same", node.answers() == answers)
        run(program, "check", folder)


@contextlib.contextmanager
def name_server():
    """Knows one name, and answers questions for an IPv4 address."""
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    server.bind((NAME_SERVER, 53))
    name = b"".join(bytes([len(part)]) + part.encode() for part in NAME.split(".")) + b"\0"
    asked = []

    def serve():
        while True:
            question, sender = server.recvfrom(512)
            if not question:
                return
            body = question[12:]
            kind = struct.unpack(">H", body[len(name) : len(name) + 2])[0]
            is_found = body.lower().startswith(name) and kind == 1
            asked.append(kind)
            flags = 0x8180 if body.lower().startswith(name) else 0x8183
            head = question[:2] + struct.pack(">HHHHH", flags, 1, is_found, 0, 0)
            end = len(name) + 4
            address = b"\xc0\x0c" + struct.pack(">HHIH", 1, 1, 60, 4) + socket.inet_aton("127.0.0.1")
            server.sendto(head + body[:end] + (address if is_found else b""), sender)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield asked
    finally:
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"", (NAME_SERVER, 53))
        thread.join()
        server.close()


def found_by_name(native, words, place):
    """A member that is found by a name: its claims come, and its member list."""
    settings = os.path.join(place, "resolv.conf")
    with open(settings, "w", encoding="ascii") as file:
        file.write(f"nameserver {NAME_SERVER}\n")
    script = 'mount --bind "$0" /etc/resolv.conf && exec "$@"'
    asking = ["unshare", "--mount", "sh", "-c", script, settings] + words
    with name_server() as asked, Node(native, os.path.join(place, "seed")) as seed:
        seed.assert_all(claims(0, 40))
        root = seed.root()
        port = seed.rpc.rsplit(":", 1)[1]
        with Node(asking, os.path.join(place, "joining"), f"--seeds={NAME}:{port}") as node:
            deadline = time.monotonic() + PATIENCE
            while not node.ask("/v1/health")[1]["joined"] and time.monotonic() < deadline:
                time.sleep(0.05)
            expect("the name server was asked", 1 in asked, asked)
            synced = node.ask("/v1/admin/sync", b"")
            expect("the seed is found by its name", node.root() == root, (synced, node.log()))


def main():
    native, words = [sys.argv[1]], sys.argv[2:]
    with tempfile.TemporaryDirectory(prefix="stemedb-targets-") as place:
        carried(native, words, place)
        past_4_gib(native, words, place)
        found_by_name(native, words, place)
    print(f"{passed} passed, {failed} failed", flush=True)
    sys.exit(bool(failed or not passed))


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    main()
