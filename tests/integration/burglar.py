"""`burglar.py MODE`: a local mesh with credentials beside it, and tasks that try to come to them.

Prints what they found, as JSON. Run in a home of its own, as whoever is to be tried.
"""

from __future__ import annotations

import ctypes
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

import gossamer
from gossamer import local
from gossamer.agent_process import AgentOptions
from gossamer_mesh.enrolment.home import Home
from gossamer_mesh.places import config_dir, private_dir, runtime_dir, state_dir, write_private

CLONE_NEW = 0x10000000 | 0x20000  # USER, NS
DETACH = 2
MOUNTS = {"bind": 4096, "bind all": 4096 | 16384, "move": 8192}
OPEN_TREE = 428
TREES = {"clone": 1, "clone all": 1 | 0x8000}
PIVOT_ROOT = 155
UP = "../" * 30


class Burglar:
    """Tries to come to `files`, known by device and inode; `won`: the ways that led there."""

    def __init__(self, files):
        self.libc = ctypes.CDLL(None, use_errno=True)
        self.files = [(path, [device, inode]) for path, device, inode in files]
        self.won = set()
        self.place = os.path.join(os.getcwd(), "place")
        os.makedirs(self.place, exist_ok=True)

    def try_all(self):
        for path, wanted in self.files:
            self.through_processes(path, wanted)
            self.by_mounts(path, wanted)
        self.into_processes()

    def look(self, way, path, wanted, **beside):
        try:
            found = os.stat(path, **beside)
        except OSError:
            return
        if [found.st_dev, found.st_ino] == wanted:
            self.won.add(way)

    def through_processes(self, path, wanted):
        self.look("path", path, wanted)
        for pid in processes():
            self.look(f"root of {name(pid)}", f"/proc/{pid}/root{path}", wanted)
            self.look(f"cwd of {name(pid)}", f"/proc/{pid}/cwd/{UP}{path}", wanted)
            try:
                fds = os.listdir(f"/proc/{pid}/fd")
            except OSError:
                continue
            for fd in fds:
                self.look(f"descriptor of {name(pid)}", f"/proc/{pid}/fd/{fd}", wanted)
                self.look(f"descriptor of {name(pid)}", f"/proc/{pid}/fd/{fd}/{UP}{path}", wanted)

    def into_processes(self):
        for pid in processes():
            # The zygote and the workers are behind what hides: there is nothing to be had of them.
            if "gossamer_agent.worker" in name(pid) or int(pid) == os.getpid():
                continue
            try:
                # It takes the right to trace; to try that itself would stop them.
                os.close(os.open(f"/proc/{pid}/mem", os.O_RDONLY))
                self.won.add(f"memory of {name(pid)}")
            except OSError:
                pass
            try:
                fd = os.open(f"/proc/{pid}/ns/mnt", os.O_RDONLY)
            except OSError:
                continue
            if self.libc.setns(fd, 0) == 0:
                self.won.add(f"enter {name(pid)}")
            os.close(fd)

    def by_mounts(self, path, wanted):
        place = self.place.encode()
        for above in ancestors(path):
            rest = os.path.relpath(path, above)
            for flags in (0, DETACH):
                self.libc.umount2(above.encode(), flags)
            self.look(f"unmount {above}", path, wanted)
            for way, flags in MOUNTS.items():
                if not self.libc.mount(above.encode(), place, b"", ctypes.c_ulong(flags), None):
                    self.look(f"{way} {above}", f"{self.place}/{rest}", wanted)
                    self.look(f"{way} {above}", path, wanted)
                    self.libc.umount2(place, DETACH)
            for way, flags in TREES.items():
                tree = self.libc.syscall(OPEN_TREE, -100, above.encode(), ctypes.c_uint(flags))
                if tree >= 0:
                    self.look(f"{way} {above}", rest, wanted, dir_fd=tree)
                    os.close(tree)

    def within_a_further_namespace(self):
        uid, gid = os.getuid(), os.getgid()
        if self.libc.unshare(CLONE_NEW):
            raise OSError(ctypes.get_errno(), "no further namespaces")
        somebody = True
        try:
            maps = (("uid_map", f"0 {uid} 1"), ("setgroups", "deny"), ("gid_map", f"0 {gid} 1"))
            for kind, text in maps:
                with open(f"/proc/self/{kind}", "w") as file:
                    file.write(text)
        except PermissionError:
            # Root without power is nobody in there, who can make nothing.
            somebody = uid != 0
            assert not somebody
        with open("/proc/self/status") as file:
            assert "CapEff:\t0000000000000000" not in file.read(), "no power in it"
        self.try_all()
        if somebody:
            self.without_root()

    def without_root(self):
        """Let go of the whole tree while directories of it are held."""
        held = []
        for path, wanted in self.files:
            for above in ancestors(path):
                try:
                    held.append((os.open(above, os.O_RDONLY), os.path.relpath(path, above), wanted))
                except OSError:
                    continue
        self.libc.mount(b"tmpfs", self.place.encode(), b"tmpfs", ctypes.c_ulong(0), None)
        os.mkdir(f"{self.place}/old")
        os.chdir(self.place)
        if self.libc.syscall(PIVOT_ROOT, b".", b"old") or self.libc.umount2(b"/old", DETACH):
            raise OSError(ctypes.get_errno(), "the root was not let go of")
        for fd, rest, wanted in held:
            self.look(f"held {rest}", rest, wanted, dir_fd=fd)


def processes():
    return [pid for pid in os.listdir("/proc") if pid.isdigit()]


def name(pid):
    try:
        with open(f"/proc/{pid}/cmdline") as file:
            return file.read().replace("\0", " ")
    except OSError:
        return "gone"


def ancestors(path):
    while path != "/":
        path = os.path.dirname(path)
        yield path


def attack(files):
    """Try every way, here and in a further namespace; return those that led to a file."""
    burglar = Burglar(files)
    burglar.try_all()
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        burglar.won.clear()
        try:
            burglar.within_a_further_namespace()
            said = sorted(burglar.won)
        except BaseException as error:  # noqa: BLE001 - whatever it was, it is to be told
            said = [repr(error)]
        os.write(writer, json.dumps(said).encode())
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as heard:
        further = json.load(heard)
    os.waitpid(child, 0)
    return sorted(burglar.won) + [f"further: {way}" for way in further]


def ordinary(home, array):
    """Do what tasks do, and tell who did it."""
    mine = os.path.join(home, "written-by-a-task")
    with open(mine, "w"), tempfile.NamedTemporaryFile() as temporary:
        said = subprocess.run(
            ["/usr/bin/id", "-u"], capture_output=True, text=True, check=True
        ).stdout
        owner = os.stat(temporary.name).st_uid
    child = os.fork()
    if child == 0:
        os._exit(7)
    status = os.WEXITSTATUS(os.waitpid(child, 0)[1])
    with open("/proc/self/status") as file:
        power = sorted({line.split()[1] for line in file if line.startswith("Cap")})
    with open(os.path.join(os.environ["XDG_RUNTIME_DIR"], "gossamer", "passing"), "w") as passing:
        passing.write("there is room")
    told = {
        "user": [os.getuid(), os.geteuid(), owner, int(said), os.stat(mine).st_uid],
        "group": [os.getgid(), os.getegid()],
        "fork": status,
        "home": os.path.expanduser("~"),
        "where": os.path.basename(os.getcwd()),
        "power": power,
    }
    return told, array + 1


def connected():
    """Reach the mesh from a task, by what lies on its machine."""
    try:
        with gossamer.connect() as mesh:
            return mesh.whoami().name
    except gossamer.ConfigError as error:
        return str(error)


def known(files):
    found = [(path, path.stat()) for path in files]
    return [[str(path), status.st_dev, status.st_ino] for path, status in found]


def main() -> None:
    kept = [config_dir() / "agents", config_dir() / "contexts", runtime_dir() / "agents"]
    files = [private_dir(place) / "theirs.json" for place in kept]
    for path in files:
        write_private(path, b'{"jwt": "a", "seed": "b"}')
    Home.make("theirs", "127.0.0.1:4999")
    config = Path("agent.toml").absolute()
    config.write_text(f'hide_credentials = "{sys.argv[1]}"\nwork.drain = 0\n')
    try:
        made = local.up(AgentOptions(config=str(config)))
        files += [made.directory / "server" / each for each in ("access.json", "keys.json")]
        files += [state_dir() / "meshes/theirs" / each for each in ("access.json", "keys.json")]
        with gossamer.connect() as mesh:
            told, array = mesh.submit(ordinary, os.environ["HOME"], np.ones(200_000)).result(60)
            won = mesh.submit(attack, known(files)).result(60)
            # A file that is written anew is another; a directory may come later than the agent.
            write_private(files[0], b"written anew")
            later = private_dir(private_dir(state_dir() / "meshes/later")) / "keys.json"
            write_private(later, b"of a mesh that was made later")
            won += mesh.submit(attack, known([files[0], later])).result(60)
            secrets = mesh.agents()[0].document.secrets
            if sys.argv[2:]:
                told["connected"] = mesh.submit(connected).result(60)
        json.dump({**told, "sum": array.sum(), "won": won, "secrets": secrets}, sys.stdout)
    finally:
        log = local.logs()["agent"]
        if log.exists():
            sys.stderr.write(log.read_text())
        local.down(0)


if __name__ == "__main__":
    main()
