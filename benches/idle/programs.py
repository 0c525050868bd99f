"""The programs that benches/idle measures: how each starts, what its first request is, how it takes records,
and how it shows that a cluster is whole.

Settings are those that a program has without any, but for addresses, data directory and persistence.
"""
import base64, contextlib, glob, json, os, re, shutil, socket, subprocess

ROOT = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", ".."))
UNPACKED = os.path.join(os.environ.get("CARGO_TARGET_DIR", os.path.join(ROOT, "target")), "peers")
TARGET = "x86_64-unknown-linux-musl"
VALUE = "v" * 100
# Seconds that one answer may take.
ANSWER_MAX = 10


class Unready(Exception):
    """The program answers, and not yet what it should."""


def output_of(*command):
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def installed(program, package, libraries=()):
    """The path of a Debian program, and its package's version. What is not installed is unpacked, as an
    installation would start a service."""
    places = os.pathsep.join(["/usr/bin", "/usr/sbin", os.path.join(UNPACKED, "usr/bin"),
                              os.path.join(UNPACKED, "usr/sbin")])
    if not shutil.which(program, path=places):
        os.makedirs(UNPACKED, exist_ok=True)
        for name in (package, *libraries):
            subprocess.run(["apt-get", "download", "-qq", name], cwd=UNPACKED, check=True)
            archive, = glob.glob(os.path.join(UNPACKED, f"{name}_*.deb"))
            subprocess.run(["dpkg-deb", "-x", archive, UNPACKED], check=True)
    archives = glob.glob(os.path.join(UNPACKED, f"{package}_*.deb"))
    version = (output_of("dpkg-deb", "-f", archives[0], "Version") if archives
               else output_of("dpkg-query", "-W", "-f", "${Version}", package))
    # Upstream's part of it, without the epoch.
    return shutil.which(program, path=places), re.match(r"(?:\d+:)?([\d.]+)", version).group(1)


def environment():
    folders = glob.glob(os.path.join(UNPACKED, "usr/lib/*-linux-*"))
    return {**os.environ, "LD_LIBRARY_PATH": ":".join(folders)} if folders else dict(os.environ)


class Link:
    """A TCP connection to a program."""

    def __init__(self, host, port):
        self.socket = socket.create_connection((host, port), timeout=ANSWER_MAX)
        self.file = self.socket.makefile("rwb")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.file.close()
        self.socket.close()

    def send(self, data):
        self.file.write(data)
        self.file.flush()

    def line(self):
        if not (line := self.file.readline()):
            raise ConnectionResetError("the program closed the connection")
        return line.decode().rstrip("\r\n")

    def take(self, count):
        if len(data := self.file.read(count)) < count:
            raise ConnectionResetError("the program closed the connection")
        return data

    def ask(self, path, body=None):
        """The answer to a request by HTTP."""
        data = json.dumps(body).encode() if body is not None else b""
        method, host = "GET" if body is None else "POST", self.socket.getpeername()[0]
        self.send(f"{method} {path} HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n"
                  f"Content-Length: {len(data)}\r\n\r\n".encode() + data)
        status, length = int(self.line().split()[1]), 0
        while line := self.line():
            name, value = line.split(":", 1)
            length = int(value) if name.lower() == "content-length" else length
        answer = self.take(length)
        if status >= 300:
            raise Unready(f"{path}: {status} {answer[:200]}")
        return answer


class Program:
    """One process on one host; `hosts` are those of its cluster, in the order of their numbers."""
    # Others can only join a first that answers; a majority has to be there before the first answers.
    needs_majority = False
    has_records = True

    def __init__(self, host, hosts, folder):
        self.host, self.hosts, self.folder, self.process = host, hosts, folder, None
        self.number = hosts.index(host)
        self.name = f"n{self.number}"

    @classmethod
    def find(cls):
        """Sets path and version of the program, which its Debian package has."""
        cls.path, cls.version = installed(*cls.package)

    @property
    def is_alone(self):
        return len(self.hosts) == 1

    def link(self, port=None):
        return Link(self.host, port or self.port)

    def is_whole(self):
        """Whether the cluster is, as this member sees it."""
        return True

    def start(self, enter):
        os.makedirs(self.folder)
        with open(os.path.join(self.folder, "log"), "w") as log:
            self.process = subprocess.Popen(self.words(), stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                            env=environment(), preexec_fn=enter, cwd=self.folder)

    def stop(self):
        if self.process:
            self.process.kill()
            self.process.wait()

    def log(self):
        with open(os.path.join(self.folder, "log"), errors="replace") as log:
            return log.read()[-3000:]


class Node(Program):
    title, port = "stemedb-edge", 18180

    @classmethod
    def find(cls):
        cls.path = os.environ.get("NODE")
        if not cls.path:
            subprocess.run(["cargo", "build", "--release", "--target", TARGET], cwd=ROOT, check=True)
            target = os.environ.get("CARGO_TARGET_DIR", os.path.join(ROOT, "target"))
            cls.path = os.path.join(target, TARGET, "release", "stemedb-edge")
        cls.version = output_of(cls.path, "--version").split()[-1]

    def words(self):
        words = [self.path, "--data-dir", os.path.join(self.folder, "data"), "--bind-addr", f"{self.host}:18180",
                 "--gateway-addr", f"{self.host}:18181", "--rpc-addr", f"{self.host}:18182"]
        return words + (["--seeds", f"{self.hosts[0]}:18182"] if self.number else [])

    def answer(self):
        with self.link() as link:
            link.ask("/v1/query?subject=idle")

    def fill(self, count):
        with self.link() as link:
            for number in range(count):
                link.ask("/v1/assert", {"subject": f"idle {number}", "predicate": "value",
                                        "object": {"type": "Text", "value": VALUE}})

    def held(self):
        with self.link() as link:
            return json.loads(link.ask("/v1/health"))["assertions_count"]

    def is_whole(self):
        with self.link() as link:
            metrics = link.ask("/metrics").decode()
        return f'stemedb_cluster_members{{state="Alive"}} {len(self.hosts)}' in metrics


class Etcd(Program):
    title, port, needs_majority = "etcd", 2379, True
    package = "etcd", "etcd-server"

    def words(self):
        words = [self.path, "--name", self.name, "--data-dir", os.path.join(self.folder, "data")]
        for flag in ("--listen-client-urls", "--advertise-client-urls"):
            words += [flag, f"http://{self.host}:2379"]
        if not self.is_alone:
            for flag in ("--listen-peer-urls", "--initial-advertise-peer-urls"):
                words += [flag, f"http://{self.host}:2380"]
            members = (f"n{number}=http://{host}:2380" for number, host in enumerate(self.hosts))
            words += ["--initial-cluster", ",".join(members), "--initial-cluster-state", "new"]
        return words

    def range(self, **more):
        with self.link() as link:
            body = {"key": base64.b64encode(b"idle").decode(), **more}
            return json.loads(link.ask("/v3/kv/range", body))

    def answer(self):
        self.range()

    def fill(self, count):
        value = base64.b64encode(VALUE.encode()).decode()
        with self.link() as link:
            for number in range(count):
                key = base64.b64encode(f"idle {number}".encode()).decode()
                link.ask("/v3/kv/put", {"key": key, "value": value})

    def held(self):
        end = base64.b64encode(b"idlf").decode()
        return int(self.range(range_end=end, count_only=True, serializable=True).get("count", 0))


class Nats(Program):
    title, port, needs_majority = "NATS", 4222, True
    package = "nats-server", "nats-server"

    def words(self):
        words = [self.path, "-a", self.host, "-n", self.name, "-js", "-sd", os.path.join(self.folder, "data")]
        if not self.is_alone:
            routes = ",".join(f"nats://{host}:6222" for host in self.hosts)
            words += ["--cluster", f"nats://{self.host}:6222", "--cluster_name", "idle", "--routes", routes]
        return words

    @contextlib.contextmanager
    def client(self):
        """Asks JetStream a subject and a body, on one connection."""
        with self.link() as link:
            link.line()
            link.send(b'CONNECT {"verbose":false}\r\nSUB reply 1\r\n')

            def ask(subject, body=b""):
                link.send(f"PUB {subject} reply {len(body)}\r\n".encode() + body + b"\r\n")
                while not (line := link.line()).startswith("MSG"):
                    if line == "PING":
                        link.send(b"PONG\r\n")
                    elif line.startswith("-ERR"):
                        raise Unready(line)
                size = int(line.split()[-1])
                answer = json.loads(link.take(size + 2))
                if "error" in answer:
                    raise Unready(answer["error"])
                return answer

            yield ask

    def answer(self):
        with self.client() as ask:
            ask("$JS.API.INFO")

    def fill(self, count):
        stream = {"name": "idle", "subjects": ["idle.*"], "storage": "file", "num_replicas": len(self.hosts)}
        with self.client() as ask:
            ask("$JS.API.STREAM.CREATE.idle", json.dumps(stream).encode())
            for number in range(count):
                ask(f"idle.{number}", VALUE.encode())

    def held(self):
        """What all replicas have, as any of them says."""
        with self.client() as ask:
            found = ask("$JS.API.STREAM.INFO.idle")
        replicas = found["cluster"].get("replicas", []) if not self.is_alone else []
        behind = [replica for replica in replicas if not replica["current"] or replica.get("lag")]
        is_short = len(replicas) != len(self.hosts) - 1
        return 0 if behind or is_short else found["state"]["messages"]


class Redis(Program):
    title, port = "Redis", 6379
    package = "redis-server", "redis-server"

    def words(self):
        words = [self.path, "--bind", self.host, "--protected-mode", "no", "--dir", self.folder,
                 "--appendonly", "yes", "--save", ""]
        return words + (["--replicaof", self.hosts[0], "6379"] if self.number else [])

    def ask(self, link, *words):
        parts = (f"${len(word)}\r\n{word}\r\n" for word in words)
        link.send((f"*{len(words)}\r\n" + "".join(parts)).encode())
        if (line := link.line()).startswith("-"):
            raise Unready(line)
        if line.startswith("$") and line != "$-1":
            return link.take(int(line[1:]) + 2).decode()
        return line

    def answer(self):
        with self.link() as link:
            self.ask(link, "GET", "idle")

    def fill(self, count):
        with self.link() as link:
            for number in range(count):
                self.ask(link, "SET", f"idle {number}", VALUE)

    def held(self):
        with self.link() as link:
            return int(self.ask(link, "DBSIZE")[1:])

    def is_whole(self):
        with self.link() as link:
            info = self.ask(link, "INFO", "replication")
        if self.number:
            return "master_link_status:up" in info
        return len(re.findall(r"state=online", info)) == len(self.hosts) - 1


class Serf(Program):
    title, port, has_records = "serf", 7373, False
    package = "serf", "serf"

    def words(self):
        words = [self.path, "agent", "-node", self.name, "-bind", self.host, "-rpc-addr", f"{self.host}:7373",
                 "-snapshot", os.path.join(self.folder, "snapshot")]
        return words + (["-join", self.hosts[0]] if self.number else [])

    def answer(self):
        """A handshake, in MessagePack: maps of two and of one, strings, small numbers."""
        with self.link() as link:
            link.send(b"\x82\xa7Command\xa9handshake\xa3Seq\x00" + b"\x81\xa7Version\x01")
            expected = b"\x82\xa5Error\xa0\xa3Seq\x00"
            if (answer := link.take(len(expected))) != expected:
                raise Unready(repr(answer))

    def is_whole(self):
        members = output_of(self.path, "members", f"-rpc-addr={self.host}:7373", "-status=alive")
        return len(members.splitlines()) == len(self.hosts)


class Mosquitto(Program):
    title, port = "mosquitto", 1883
    package = "mosquitto", "mosquitto", ("libmosquitto1", "libdlt2", "libcjson1", "libwrap0")

    def words(self):
        settings = os.path.join(self.folder, "settings")
        lines = [f"listener 1883 {self.host}", "allow_anonymous true", "user root", "persistence true",
                 f"persistence_location {self.folder}/"]
        if self.number:
            # Its name makes the client's id: two of one name take the connection from each other.
            lines += [f"connection {self.name}", f"address {self.hosts[0]}:1883", "topic # both 1"]
        with open(settings, "w") as file:
            file.write("\n".join(lines) + "\n")
        return [self.path, "-c", settings]

    @staticmethod
    def packet(kind, body):
        # No packet of this script has more bytes than one digit of the length holds.
        assert len(body) < 128 << 7
        low, high = len(body) % 128, len(body) // 128
        return bytes([kind, low | 0x80, high] if high else [kind, low]) + body

    @staticmethod
    def string(text):
        return len(text).to_bytes(2, "big") + text.encode()

    def receive(self, link):
        kind, = link.take(1)
        length, shift, more = 0, 0, True
        while more:
            digit, = link.take(1)
            length, shift, more = length | (digit & 0x7f) << shift, shift + 7, digit & 0x80
        return kind, link.take(length)

    @contextlib.contextmanager
    def client(self):
        with self.link() as link:
            link.send(self.packet(0x10, self.string("MQTT") + b"\x04\x02\x00\x3c" + self.string("")))
            if self.receive(link) != (0x20, b"\x00\x00"):
                raise Unready("CONNACK")
            yield link
            link.send(b"\xe0\x00")

    def answer(self):
        with self.client():
            pass

    def fill(self, count):
        """Retained messages, each acknowledged."""
        with self.client() as link:
            for number in range(count):
                name = self.string(f"idle/{number}") + (number + 1).to_bytes(2, "big")
                link.send(self.packet(0x33, name + VALUE.encode()))
                if self.receive(link)[0] != 0x40:
                    raise Unready("PUBACK")

    def held(self):
        """Counts what it gets on its subscription before the answer to a ping."""
        with self.client() as link:
            link.send(self.packet(0x82, b"\x00\x01" + self.string("idle/#") + b"\x00") + b"\xc0\x00")
            count = 0
            while (kind := self.receive(link)[0]) != 0xd0:
                count += kind >> 4 == 3
        return count

    def is_whole(self):
        """The bridges of the others say on the first one that they are up."""
        if self.number:
            return True
        with self.client() as link:
            topic = self.string("$SYS/broker/connection/+/state")
            link.send(self.packet(0x82, b"\x00\x01" + topic + b"\x00") + b"\xc0\x00")
            up = 0
            while (packet := self.receive(link))[0] != 0xd0:
                up += packet[0] >> 4 == 3 and packet[1].endswith(b"1")
        return up == len(self.hosts) - 1


PROGRAMS = [Node, Etcd, Nats, Redis, Serf, Mosquitto]
