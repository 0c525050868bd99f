"""The node on a machine of 64 MB that qemu emulates, beside a node of this machine's program.

Usage: check.py KERNEL INITRAMFS PROGRAM NATIVE... (PROGRAM is the board's, for its size; NATIVE the
words that start a node here). 100,000 claims are imported from outside through the virtual network
and synced to the outside node; claims go both ways; SIGKILL, a power cut, a boot in 1970 and a full
disk lose no claim that was answered. Has to be root in a network namespace of its own: both
machines have addresses on its loopback device. Prints a line for each check and each figure, then
"N passed, M failed"; the exit code is 0 only if nothing failed."""

import concurrent.futures
import http.client
import json
import os
import re
import select
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request

# The board is emulated, and this machine may be busy.
PATIENCE = 300
IMPORT_PATIENCE = 1800
# Of RFC 5737: no machine has them. The board's lead to it by qemu's forwarding.
BOARD, OUTSIDE = "192.0.2.1", "192.0.2.2"
API, GATEWAY, RPC = 18180, 18181, 18182
RAM, DISK_MB = "64M", 128
CLAIMS, IMPORTED_INSIDE = 100_000, 1000
LENSES = "recency hlc confidence consensus authority".split()
passed = failed = 0


def expect(what, holds, shown=""):
    global passed, failed
    passed, failed = passed + bool(holds), failed + (not holds)
    print(f"{'ok    ' if holds else 'FAILED'} {what} {'' if holds else shown}", flush=True)


def figure(what, value):
    print(f"       {what}: {value}", flush=True)


def wait_for(what, condition, patience=PATIENCE):
    """Waits until the condition is True, and says after how many seconds it was."""
    start = time.monotonic()
    while (seen := condition()) is not True:
        if time.monotonic() - start > patience:
            raise SystemExit(f"{what}: not after {patience} s: {seen}")
        time.sleep(0.2)
    return time.monotonic() - start


def until(what, condition):
    """One check: that the condition comes to hold."""
    try:
        wait_for(what, condition)
        expect(what, True)
    except SystemExit as late:
        expect(what, False, late)


def environment():
    return {name: text for name, text in os.environ.items() if not name.startswith("STEMEDB_")}


def flags(ip, folder, seeds):
    listeners = ("bind-addr", API), ("gateway-addr", GATEWAY), ("rpc-addr", RPC)
    return [f"--data-dir={folder}", f"--seeds={seeds}"] + [
        f"--{name}={ip}:{port}" for name, port in listeners
    ]


class Node:
    """What a node is asked over the network, wherever it runs."""

    def __init__(self, ip):
        self.ip = ip

    def ask(self, path, body=None):
        """Status and JSON; (0, why) if there is no answer."""
        kind = {"content-type": "application/json"}
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"http://{self.ip}:{API}{path}", data, kind)
        try:
            with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            return error.code, json.load(error)
        except (OSError, http.client.HTTPException) as error:
            return 0, str(error)

    def wait_until_ready(self):
        return wait_for(f"{self.ip} is ready", lambda: self.ask("/v1/health/ready")[0] == 200)

    def health(self):
        return self.ask("/v1/health")[1]

    def root(self):
        health = self.health()
        return health["assertions_count"], health["merkle_root"]

    def count(self):
        return self.health()["assertions_count"]

    def newest(self, subject):
        """The value that `recency` chooses."""
        _, answer = self.ask(f"/v1/query?subject={subject}&predicate=p&lens=recency")
        winner = answer.get("resolution", {}).get("winner")
        found = [one for one in answer.get("assertions", []) if one["hash"] == winner]
        return found[0]["object"]["value"] if found else answer

    def answers(self):
        paths = []
        for number in range(0, CLAIMS // 10, CLAIMS // 100):
            pair = f"subject=sensor/{number}&predicate=p{number // 7 % 2}"
            paths += [f"/v1/query?{pair}&lens={lens}" for lens in LENSES]
            paths += [f"/v1/query?subject=sensor/{number}", f"/v1/skeptic?{pair}"]
            paths += [f"/v1/layered?{pair}"]
        answers = [self.ask(path) for path in paths]
        for _, answer in answers:
            # A cursor is the node's own, and so is the order in which claims came.
            answer.pop("next_cursor", None)
            answer.get("assertions", []).sort(key=lambda one: one["hash"])
        return answers

    def has(self, hashes):
        return all(self.ask(f"/v1/assertions/{name}")[0] == 200 for name in hashes)


class Outside(Node):
    """A node of this machine's program."""

    def __init__(self, words, place, seeds):
        super().__init__(OUTSIDE)
        with open(f"{place}/outside.log", "wb") as log:
            self.process = subprocess.Popen(
                words + flags(OUTSIDE, f"{place}/outside", seeds),
                env=environment(),
                stderr=log,
                stdout=log,
            )


class Board(Node):
    """The machine, by its console, and the node on it. A power cut is SIGKILL for qemu."""

    def __init__(self, kernel, initramfs, disk, clock):
        super().__init__(BOARD)
        forwards = [f"hostfwd=tcp:{BOARD}:{port}-:{port}" for port in (API, GATEWAY, RPC)]
        start = time.monotonic()
        self.process = subprocess.Popen(
            ["qemu-system-arm", "-M", "virt,highmem=off", "-cpu", "cortex-a7", "-smp", "1", "-m", RAM]
            + ["-display", "none", "-monitor", "none", "-serial", "stdio", "-no-reboot"]
            + ["-kernel", kernel, "-initrd", initramfs, "-rtc", f"base={clock}"]
            + ["-append", "console=ttyAMA0 quiet panic=-1"]
            + ["-drive", f"if=none,id=disk,format=raw,file={disk}"]
            + ["-device", "virtio-blk-device,drive=disk"]
            + ["-netdev", ",".join(["user,id=net", *forwards])]
            + ["-device", "virtio-net-device,netdev=net"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        self.console("up")
        self.boot = time.monotonic() - start

    def console(self, end, patience=PATIENCE):
        """What the console says up to a line `=== END`, and END."""
        deadline, said = time.monotonic() + patience, b""
        output = self.process.stdout.fileno()
        while not (found := re.search(rf"(?s)^(.*?)=== ({end})\r?\n".encode(), said)):
            ready, _, _ = select.select([output], [], [], max(0, deadline - time.monotonic()))
            more = os.read(output, 1 << 16) if ready else b""
            if not more:
                raise SystemExit(f"the board's console ends with: {said[-4000:].decode()}")
            said += more
        return found.group(1).decode(), found.group(2).decode()

    def sh(self, line, patience=PATIENCE):
        """Exit code and output of a line of shell."""
        self.process.stdin.write(f"{line}\n".encode())
        self.process.stdin.flush()
        text, code = self.console(r"\d+", patience)
        return int(code), text

    def number(self, line):
        return int(self.sh(line)[1].split()[0])

    def start(self, seeds=""):
        """Starts the node; returns after how many seconds it is ready."""
        words = ["stemedb-edge", *flags("0.0.0.0", "/data/node", seeds)]
        words += [f"--advertise-rpc-addr={BOARD}:{RPC}", f"--advertise-api-addr={BOARD}:{API}"]
        self.sh(f"{' '.join(words)} >>/tmp/log 2>&1 & node=$!")
        return self.wait_until_ready()

    def kill(self, how):
        """Signals the node, and returns its exit code."""
        return self.number(f"kill -{how} $node; wait $node 2>/dev/null; echo $?")

    def cut_power(self):
        self.process.kill()
        self.process.wait()

    def log(self):
        return self.sh("cat /tmp/log")[1]

    def memory(self, when):
        """Prints the node's memory and the machine's, of /proc."""
        status, memory = self.sh("cat /proc/$node/status")[1], self.sh("cat /proc/meminfo")[1]
        kib = lambda name, text: re.search(rf"^{name}:\s+(\d+)", text, re.M).group(1)
        figure(
            when,
            f"resident {kib('VmRSS', status)} KiB, of it {kib('RssAnon', status)} anonymous, "
            f"peak {kib('VmHWM', status)}; available {kib('MemAvailable', memory)} "
            f"of {kib('MemTotal', memory)} KiB",
        )


def claim(subject, number, size=0):
    """A claim without a timestamp: the node's clock stamps it."""
    value = {"type": "Number", "value": number}
    if size:
        value = {"type": "Text", "value": f"{number:0>{size}}"}
    return {"subject": subject, "predicate": "p", "object": value}


def line(number):
    """One of ten claims on each subject, five of them on each of two predicates."""
    body = {
        "subject": f"sensor/{number // 10}",
        "predicate": f"p{number % 2}",
        "object": {"type": "Text", "value": f"{number % 3:0>130}"},
        "confidence": number % 7 / 7,
        "source_class": number % 6,
        "source_hash": f"{number:064x}",
        "timestamp": 1_700_000_000 + number,
    }
    return json.dumps(body) + "\n"


def run(words, *more, given=None, patience=PATIENCE):
    return subprocess.run(
        words + list(more),
        input=given,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=patience,
        check=False,
    )


def answered_until(board, cut, first):
    """Hashes of claims that were answered while `cut` ended the node."""
    hashes = []

    def write():
        for number in range(first, first + 100_000):
            status, answer = board.ask("/v1/assert", claim("cut", number))
            if status == 0:
                return
            if status == 201:
                hashes.append(answer["hash"])

    with concurrent.futures.ThreadPoolExecutor() as pool:
        writer = pool.submit(write)
        wait_for("some claims are answered", lambda: len(hashes) >= 30 or writer.done())
        cut()
        writer.result()
    return hashes


def imports(board, native):
    """From outside, as a machine that collects claims does, and on the board itself."""
    lines = "".join(map(line, range(CLAIMS)))
    start = time.monotonic()
    command = "import", "-", "--to", f"http://{BOARD}:{API}"
    done = run(native, *command, given=lines, patience=IMPORT_PATIENCE)
    seconds = time.monotonic() - start
    expect("100,000 claims are imported", done.returncode == 0, done.stdout + done.stderr)
    figure("import of 100,000 claims from outside", f"{seconds:.1f} s")
    board.memory("node after the import")
    expect("they are all there", board.count() == CLAIMS, board.health())
    body = r'{\"subject\":\"inside/%d\",\"predicate\":\"p\",\"object\":{\"type\":\"Number\",\"value\":%d}}'
    loop = f'BEGIN {{ for (i = 0; i < {IMPORTED_INSIDE}; i++) printf "{body}\\n", i, i }}'
    start = time.monotonic()
    code, said = board.sh(f"awk '{loop}' | stemedb-edge import - 2>&1")
    expect("1,000 more by the command on the board", code == 0, said)
    figure("import of 1,000 claims on the board", f"{time.monotonic() - start:.1f} s")


def commands(board):
    code, said = board.sh("stemedb-edge put attic temperature --type number 21.5")
    expect("`put` on the board", code == 0, said)
    code, one = board.sh(f"stemedb-edge get {said.split()[0]}")
    expect("`get` on the board", code == 0 and '"attic"' in one, one)
    code, one = board.sh("stemedb-edge query --subject attic --predicate temperature --lens recency")
    expect("`query` on the board", code == 0 and "21.5" in one, one)
    code, one = board.sh("stemedb-edge status --json")
    expect("`status` on the board", code == 0 and json.loads(one), one)


def syncs(board, native, place):
    """A new node outside takes all, and claims go both ways."""
    start = time.monotonic()
    outside = Outside(native, place, f"{BOARD}:{RPC}")
    outside.wait_until_ready()
    count = board.count()
    wait_for("the outside node has all claims", lambda: outside.count() == count)
    figure(f"sync of {count:,} claims to a new node outside", f"{time.monotonic() - start:.1f} s")
    until("the roots are equal", lambda: outside.root() == board.root())
    board.memory("node after the sync")
    goes_both_ways("", board, outside)
    mine, theirs = board.answers(), outside.answers()
    expect("the board answers queries", {status for status, _ in mine} == {200}, mine)
    expect("as the outside node does", mine == theirs)
    return outside


def goes_both_ways(when, board, outside):
    outside.ask("/v1/assert", claim(f"out{when}", 1))
    until(f"a claim from outside arrives{when}", lambda: board.newest(f"out{when}") == 1)
    code, said = board.sh(f"stemedb-edge put in{when} p --type number 2")
    expect(f"the board takes a claim{when}", code == 0, said)
    until(f"it arrives outside{when}", lambda: outside.newest(f"in{when}") == 2)
    until(f"the roots are equal{when}", lambda: outside.root() == board.root())


def is_killed(board, outside):
    """SIGKILL while claims are written."""
    hashes = answered_until(board, lambda: board.kill(9), 0)
    seconds = board.start(f"{OUTSIDE}:{RPC}")
    figure("start after kill -9 to ready", f"{seconds:.1f} s")
    expect(f"kill -9: all {len(hashes)} answered claims are there", board.has(hashes))
    expect("kill -9: so are the others", board.count() >= CLAIMS + len(hashes), board.health())
    until("kill -9: the roots are equal", lambda: outside.root() == board.root())


def boots_in_1970(machine, board, outside):
    """The power is cut while claims are written; the next boot has no clock."""
    hashes = answered_until(board, board.cut_power, 1_000_000)
    board = Board(*machine, "1970-01-01")
    figure("boot after a power cut", f"{board.boot:.1f} s")
    now = board.number("date +%s")
    expect("1970: the board has no clock", now < 86400, now)
    seconds = board.start(f"{OUTSIDE}:{RPC}")
    figure("start after it to ready", f"{seconds:.1f} s")
    expect(f"1970: all {len(hashes)} answered claims are there", board.has(hashes))
    expect("1970: so are the others", board.count() >= CLAIMS + len(hashes), board.health())
    until("1970: the roots are equal", lambda: outside.root() == board.root())
    clock = board.health()["clock"]
    expect("1970: the node says that its clock is behind", clock["status"] == "behind", clock)
    goes_both_ways(".1970", board, outside)
    outside.ask("/v1/assert", claim("clock", 1))
    until("1970: a claim with the right time arrives", lambda: board.newest("clock") == 1)
    board.sh("stemedb-edge put clock p --type number 2")
    until("1970: the roots are equal", lambda: outside.root() == board.root())
    chosen = board.newest("clock"), outside.newest("clock")
    expect("1970: a claim of 1970 is older on both", chosen == (1, 1), chosen)
    # Ahead by a second at least: what is stamped from now on is newer than what was outside.
    board.sh(f"date -s @{int(time.time()) + 2}")
    until("the clock is set, and the node says so", lambda: board.health()["clock"]["status"] == "ok")
    board.sh("stemedb-edge put clock p --type number 3")
    until("the roots are equal", lambda: outside.root() == board.root())
    chosen = board.newest("clock"), outside.newest("clock")
    expect("a claim is the newest again on both", chosen == (3, 3), chosen)
    return board


def is_full(board, native):
    """The disk is full of claims, by an import that is larger than it."""
    # What is freed in the end.
    board.sh("dd if=/dev/zero of=/data/filler bs=64k count=64 2>/dev/null")
    lines = "".join(map(line, range(CLAIMS, 4 * CLAIMS)))
    command = "import", "-", "--to", f"http://{BOARD}:{API}"
    done = run(native, *command, given=lines, patience=IMPORT_PATIENCE)
    expect("full disk: an import ends with 3", done.returncode == 3, done.stderr)
    expect("full disk: the import names it", "disk is full" in done.stderr, done.stderr)
    statuses = []
    while len(statuses) < 100 and 507 not in statuses:
        statuses.append(board.ask("/v1/assert", claim("full", len(statuses), 100_000))[0])
    expect("full disk: a claim gets 507", statuses[-1:] == [507], statuses)
    health = board.health()
    expect("full disk: health says so", health.get("writes") == "disk_full", health)
    figure("claims on a full disk", f"{health['assertions_count']:,}")
    expect("full disk: reads go on", board.newest("clock") == 3)
    board.memory("node with a full disk")
    root = board.root()
    expect("full disk: kill -9 ends the node", board.kill(9) == 137)
    seconds = board.start(f"{OUTSIDE}:{RPC}")
    figure("start with a full disk to ready", f"{seconds:.1f} s")
    expect("full disk: nothing is lost", board.root() == root, (root, board.root()))
    expect("full disk: it answers", board.newest("clock") == 3)
    board.sh("rm /data/filler; sync")
    until("with space claims are taken", lambda: board.ask("/v1/assert", claim("full", -1))[0] == 201)
    until("health is ok again", lambda: board.health().get("writes") == "ok")


def ends(board, outside):
    until("at the end the roots are equal", lambda: outside.root() == board.root())
    board.memory("node at the end")
    for part in "log", "index":
        figure(f"{part} on disk", f"{board.number(f'du -sk /data/node/{part}')} KiB")
    expect("an orderly stop", board.kill(15) == 0, board.log())
    start = time.monotonic()
    code, said = board.sh("stemedb-edge check /data/node 2>&1")
    expect("`check` finds no damage", code == 0, said)
    figure("`check` of the directory", f"{time.monotonic() - start:.1f} s")
    _, said = board.sh("dmesg | grep -iE 'out of memory|oom|error|hung'")
    expect("the kernel killed no program, and complains of nothing", said == "", said)


def main():
    kernel, initramfs, program, *native = sys.argv[1:]
    for words in "link set lo up", f"addr add {BOARD}/32 dev lo", f"addr add {OUTSIDE}/32 dev lo":
        subprocess.run(["ip", *words.split()], check=True)
    with tempfile.TemporaryDirectory(prefix="stemedb-board-") as place:
        machine = kernel, initramfs, f"{place}/disk"
        subprocess.run(["truncate", "-s", f"{DISK_MB}M", machine[2]], check=True)
        subprocess.run(["mke2fs", "-q", "-t", "ext4", machine[2]], check=True)
        now = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime())
        board = Board(*machine, now)
        figure("program on the board", f"{os.path.getsize(program):,} bytes")
        figure("boot", f"{board.boot:.1f} s")
        expect("the board boots, and knows the time", abs(board.number("date +%s") - time.time()) < 600)
        _, memory = board.sh("grep -E '^Mem(Total|Available)' /proc/meminfo")
        figure("memory before the node", " ".join(memory.split()))
        figure("start of an empty node to ready", f"{board.start():.1f} s")
        board.memory("empty node")
        imports(board, native)
        commands(board)
        outside = syncs(board, native, place)
        is_killed(board, outside)
        board = boots_in_1970(machine, board, outside)
        is_full(board, native)
        ends(board, outside)
        board.cut_power()
        outside.process.terminate()
        outside.process.wait(timeout=PATIENCE)
    print(f"{passed} passed, {failed} failed", flush=True)
    sys.exit(bool(failed or not passed))


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    main()
