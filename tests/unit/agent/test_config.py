from __future__ import annotations

import os
import pickle
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from gossamer_agent import config
from gossamer_agent.allowance import Allowance
from gossamer_agent.config import AgentConfig, build, load, overridden
from gossamer_agent.expulsion import EXIT_STATUS
from gossamer_agent.resource import Resource
from gossamer_agent.rules import Deny, People
from gossamer_mesh.errors import ConfigError
from gossamer_mesh.subjects import check_name

AGENT = Path(__file__).parents[3] / "agent"
CAM = "[[resources]]\nname = 'cam'"


@pytest.fixture
def written(tmp_path):
    def write(text):
        path = tmp_path / "agent.toml"
        path.write_text(text)
        return path

    return write


def refusal(path):
    with pytest.raises(ConfigError) as caught:
        load(path)
    assert str(path) in str(caught.value)
    assert caught.value.fields["source"] == str(path)
    return caught.value


def test_an_empty_file_is_all_defaults(written):
    assert load(written("")) == AgentConfig() == build()


def test_the_defaults_fit_this_machine():
    found = build()
    assert check_name(found.name) == found.name
    assert 1 <= found.slots <= len(os.sched_getaffinity(0))
    assert found.site == "local"
    assert found.memory_bytes == 0
    assert found.output_bytes == 64 * 1024
    assert (found.queue, found.warm, found.recycle_after) == (4096, 1, 100_000)
    assert (found.drain_s, found.heartbeat_s) == (30.0, 10.0)


def test_every_key_is_read_into_si(written, tmp_path):
    (tmp_path / "mesh.access").touch()
    path = written("""
        name = "pi-1"
        site = "lab"
        allow = ["describe@2", "0123456789ABCDEF0123456789abcdef", "describe@2"]
        [labels]
        room = "2.14"
        [mesh]
        access = "mesh.access"
        [work]
        slots = 3
        queue = 10
        warm = 2
        recycle_after = 50
        memory = "2GiB"
        preload = ["json", "os.path", "json"]
        output = 1000
        drain = "1min"
        speed = 0.5
        [heartbeat]
        interval = 0.5
        [gpu]
        enabled = false
        [probe]
        skip = ["disk"]
        [costs]
        price = {"07:30" = 0.12, "00:00" = 0.04}
        egress = 0.09
        block = "5min"
        [power]
        idle = 3
        busy = 7.5
        carbon = 350
        [data]
        camera-7 = "120GiB"
        "maps/2026" = true
        logs = 0
        [[resources]]
        name = "camera-7"
        devices = ["/dev/video0"]
        env = {CAMERA = "/dev/video0"}
        paths = ["/data/camera"]
        [[resources]]
        name = "licence"
        count = 2
    """)
    assert load(path) == AgentConfig(
        name="pi-1",
        site="lab",
        labels={"room": "2.14"},
        access=tmp_path / "mesh.access",
        slots=3,
        queue=10,
        warm=2,
        recycle_after=50,
        memory_bytes=2 * 2**30,
        preload=("json", "os.path"),
        output_bytes=1000,
        drain_s=60.0,
        heartbeat_s=0.5,
        gpu=False,
        probe_skip=("disk",),
        price=((0.0, 0.04), (27_000.0, 0.12)),
        egress=0.09,
        block_s=300.0,
        idle_w=3.0,
        busy_w=7.5,
        carbon=((0.0, 350.0),),
        speed=0.5,
        data={"camera-7": 120 * 2**30, "maps/2026": 0, "logs": 0},
        resources=(
            Resource(
                "camera-7",
                devices=("/dev/video0",),
                env=(("CAMERA", "/dev/video0"),),
                paths=("/data/camera",),
            ),
            Resource("licence", 2),
        ),
        allow=Allowance(("describe@2", "0123456789abcdef0123456789abcdef")),
    )


def test_who_is_allowed_is_a_table_and_what_is_allowed_a_part_of_it(written):
    config = load(
        written(
            """
            [allow]
            callers = ["ada"]
            groups = ["beamline"]
            functions = ["describe@2"]
            [deny]
            callers = ["eve"]
            functions = ["wipe"]
            """
        )
    )
    assert config.people == People(("ada",), ("beamline",))
    assert config.allow == Allowance(("describe@2",))
    assert config.deny == Deny(People(("eve",)), ("wipe",))
    anything = load(written("allow = {callers = ['any'], functions = ['any']}"))
    assert (anything.people, anything.allow) == (People(("any",)), None)
    assert load(written("allow = ['describe']")).people is None


@pytest.mark.parametrize(
    ("text", "key", "seen", "allowed"),
    [
        ("name = ''", "name", "''", "not empty"),
        ("name = 'pi.lab'", "name", "'pi.lab'", "1-63 letters"),
        ("name = 7", "name", "7", "text in quotes"),
        ("site = 'a b'", "site", "'a b'", "1-63 letters"),
        ("labels = 'x'", "labels", "'x'", "a section [labels]"),
        ("[labels]\nroom = 2", "labels.room", "2", "text in quotes"),
        ("[labels]\na.b = 'x'", "labels.a", "{'b': 'x'}", "text in quotes"),
        ("[labels]\n'a b' = 'x'", "labels.a b", "'x'", "1-63 letters"),
        ("mesh = 1", "mesh", "1", "a section [mesh], with mesh.access"),
        ("[mesh]\naccess = 'none'", "mesh.access", "'none'", "there is no file"),
        ("[mesh]\naccess = '~nobody-here/x'", "mesh.access", "nobody-here", "there is no file"),
        ("[work]\nslots = 0", "work.slots", "0", "from 1 to 4096"),
        ("[work]\nslots = true", "work.slots", "true", "from 1 to 4096"),
        ("[work]\nslots = 2.0", "work.slots", "2.0", "a whole number"),
        ("[work]\nqueue = -1", "work.queue", "-1", "from 1 to 1000000"),
        ("[work]\nslots = 2\nwarm = 3", "work.warm", "3", "work.slots, which is 2"),
        ("[work]\nrecycle_after = 0", "work.recycle_after", "0", "from 1 to"),
        ("[work]\nmemory = 2", "work.memory", "2", "32MiB to 1PiB, such as '2GiB'"),
        ("[work]\nmemory = '2G'", "work.memory", "'2G'", "such as '2GiB'"),
        ("[work]\noutput = '1MiB'", "work.output", "'1MiB'", "0B to 256KiB"),
        ("[work]\ndrain = 'soon'", "work.drain", "'soon'", "0s to 24h, such as '30s'"),
        ("[work]\ndrain = -1", "work.drain", "-1", "0s to 24h"),
        ("[heartbeat]\ninterval = '20ms'", "heartbeat.interval", "'20ms'", "500ms to 10min"),
        ("[work]\npreload = 'numpy'", "work.preload", "'numpy'", "a list of module names"),
        ("[work]\npreload = ['numpy', 3]", "work.preload", "3", "a list of module names"),
        ("[work]\npreload = ['a-b']", "work.preload", "'a-b'", "'scipy.signal'"),
        ("[work]\npreload = ['a..b']", "work.preload", "'a..b'", "'scipy.signal'"),
        ("[work]\npreload = ['a.class']", "work.preload", "'a.class'", "'scipy.signal'"),
        ("[work]\npreload = ['torch.nn']", "work.preload", "'torch.nn'", "does not survive a fork"),
        ("[gpu]\nenabled = 1", "gpu.enabled", "1", "true or false"),
        ("[work]\nspeed = 0", "work.speed", "0", "from 0.01 to 100, beside a reference core"),
        ("[work]\nspeed = nan", "work.speed", "nan", "a number from 0.01 to 100"),
        ("[costs]\nprice = -0.1", "costs.price", "-0.1", "0 to 1000000, per slot-hour; or a table"),
        ("[costs]\nprice = true", "costs.price", "true", "a number from 0"),
        ("[costs]\nprice = '0.1'", "costs.price", "'0.1'", "a number from 0"),
        ("[costs]\nprice = inf", "costs.price", "inf", "a number from 0"),
        ("[costs]\nprice = {}", "costs.price", "{}", "a table from times of day, in UTC"),
        ("[costs.price]\n'7:30' = 1", "costs.price.7:30", "1", '"00:00" to "23:59"'),
        ("[costs.price]\n'24:00' = 1", "costs.price.24:00", "1", '"00:00" to "23:59"'),
        ("[costs.price]\n'07:30' = 'x'", "costs.price.07:30", "'x'", "a number from 0"),
        ("[costs]\negress = -1", "costs.egress", "-1", "0 to 1000000, per GiB that leaves"),
        ("[costs]\nblock = 'inf'", "costs.block", "'inf'", "0s to 24h, such as '5min'"),
        ("[power]\nidle = -1\nbusy = 1", "power.idle", "-1", "0 to 1000000, in watts"),
        ("[power]\nidle = 3\nbusy = nan", "power.busy", "nan", "0 to 1000000, in watts"),
        ("[power]\nidle = 3\nbusy = 2", "power.busy", "2.0", "power.idle, which is 3"),
        ("[power]\nidle = 3", "power.idle", "3.0", "both power.idle and power.busy"),
        ("[power]\nbusy = 3", "power.busy", "3.0", "both power.idle and power.busy"),
        ("[power]\ncarbon = 3", "power.carbon", "3.0", "both power.idle and power.busy"),
        ("[power.carbon]\n'07:30' = 1e9", "power.carbon.07:30", "1000000000.0", "0 to 10000"),
        ("[power]\nwatts = 3", "power.watts", "3", "did you mean power."),
        ("data = ['x']", "data", "['x']", "a section [data]"),
        ("[data]\n'a b' = 1", "data.a b", "1", "allowed as the name of data: 1-63 letters"),
        ("[data]\na = false", "data.a", "false", "such as '120GiB'; true or 0"),
        ("[data]\na = '12G'", "data.a", "'12G'", "such as '120GiB'; true or 0"),
        ("[data]\na = -1", "data.a", "-1", "such as '120GiB'; true or 0"),
        ("allow = 'f'", "allow", "'f'", 'such as ["ada/describe@2", "ada/describe"], or of'),
        ("allow = ['any']", "allow", "['any']", "without a list allow is about all code"),
        (
            "[allow]\nfunctions = ['f', 'any']",
            "allow.functions",
            "['f', 'any']",
            "names no function",
        ),
        ("[deny]\nfunctions = ['any']", "deny.functions", "['any']", 'deny.callers = ["any"]'),
        ("allow = [1]", "allow", "[1]", "a list of registered functions"),
        ("allow = ['f@x']", "allow", "'f@x'", "'f@x' is none of them; allowed: a list"),
        ("allow = ['a.b']", "allow", "'a.b'", "'a.b' is none of them"),
        ("[allow]\ncallers = 'ada'", "allow.callers", "'ada'", "allowed: a list of names"),
        ("[allow]\nfunctions = ['a.b']", "allow.functions", "['a.b']", "'a.b' is none of them"),
        ("[allow]\ncaller = []", "allow.caller", "[]", "did you mean callers?"),
        ("[deny]\ngroups = ['a b']", "deny.groups", "['a b']", "1-63 letters, digits"),
        ("deny = ['ada']", "deny", "['ada']", "allowed: a table such as"),
        ("resources = 'cam'", "resources", "'cam'", "tables [[resources]], each with a name"),
        ("resources = ['cam']", "resources.1", "'cam'", "tables [[resources]]"),
        ("[resources.cam]\ncount = 1", "resources", "{'cam': {'count': 1}}", "[[resources]]"),
        ("[[resources]]\ncount = 1", "resources.1.name", "None", "text in quotes"),
        ("[[resources]]\nname = 'a b'", "resources.1.name", "'a b'", "1-63 letters"),
        (f"{CAM}\n{CAM}", "resources.2.name", "'cam'", "each name once"),
        (f"{CAM}\n[[resources]]\nname='CAM'", "resources.2.name", "'CAM'", "RESOURCE_CAM would"),
        (f"{CAM}\ncount = 0", "resources.cam.count", "0", "a whole number from 1 to 65536"),
        (f"{CAM}\ncount = true", "resources.cam.count", "true", "a whole number from 1"),
        (f"{CAM}\nconut = 1", "resources.cam.conut", "1", "did you mean count?"),
        (f"{CAM}\ndevices = '/dev/x'", "resources.cam.devices", "'/dev/x'", "a list of paths"),
        (f"{CAM}\npaths = ['x']", "resources.cam.paths", "['x']", "paths from the root"),
        (f"{CAM}\nenv = 1", "resources.cam.env", "1", "a table of texts"),
        (f"{CAM}\nenv.K = 1", "resources.cam.env.K", "1", "text in quotes"),
        (f"{CAM}\nenv.'a b' = ''", "resources.cam.env.a b", "''", "the name of a variable"),
        ("[probe]\nskip = ['gpus']", "probe.skip", "'gpus'", "did you mean 'gpu'?"),
        ("[probe]\nskip = 'gpu'", "probe.skip", "'gpu'", "a list of some of cpu, memory"),
        ("[work]\nsolts = 2", "work.solts", "2", "did you mean work.slots?"),
        ("slots = 2", "slots", "2", "did you mean work.slots?"),
        ("[wrok]\nslots = 2", "wrok", "{'slots': 2}", "did you mean work?"),
        ("nmae = 'x'", "nmae", "'x'", "did you mean name?"),
    ],
)
def test_a_wrong_setting_is_named_with_what_is_seen_and_what_is_allowed(
    written, text, key, seen, allowed
):
    error = refusal(written(text))
    assert f" {key} " in str(error)
    assert seen in str(error)
    assert allowed in str(error)
    assert "\n" not in str(error)
    assert error.fields["key"] == key
    assert {"value", "allowed"} <= error.fields.keys()


def test_a_long_wrong_value_is_cut_short(written):
    assert len(str(refusal(written(f"site = '{'x' * 5000}'")))) < 400


@pytest.mark.parametrize("data", [b"name = ", b"name = '\xff'", b"a = " + b"[" * 5000])
def test_a_file_that_is_not_toml_is_refused_by_name(tmp_path, data):
    path = tmp_path / "agent.toml"
    path.write_bytes(data)
    assert "is not TOML" in str(refusal(path))


def test_a_file_that_cannot_be_read_is_refused_with_the_reason(tmp_path):
    assert "No such file or directory" in str(refusal(tmp_path / "none.toml"))
    assert "Is a directory" in str(refusal(tmp_path))


def test_flags_are_checked_as_a_file_is():
    found = build(name="a", labels={"k": "v"}, slots=2, memory="1GiB", drain=5, probe_skip=("gpu",))
    assert found.memory_bytes == 2**30
    assert found.drain_s == 5.0
    with pytest.raises(ConfigError, match=r"flags: work.slots is 0; allowed: .* from 1 to 4096"):
        build(slots=0)
    with pytest.raises(ConfigError, match=r"flags: labels.a b is 'v'; allowed as the name"):
        build(labels={"a b": "v"})


def test_flags_can_set_whatever_a_file_can():
    told = {re.sub("_(bytes|s|w)$", "", each.field) for each in config.SETTINGS}
    assert told == set(build.__kwdefaults__)
    # Whose calls are taken is a part of what is allowed.
    fields = {*(each.field for each in config.SETTINGS), "people"}
    assert fields == set(AgentConfig.__struct_fields__)


def test_flags_are_put_over_what_a_file_says(written, tmp_path):
    (tmp_path / "own").touch()
    told = load(written("site = 'lab'\n[labels]\na = '1'\nb = '1'\n[work]\nslots = 2\nwarm = 2"))
    found = overridden(told, name="x", labels={"b": "2"}, access=tmp_path / "own", slots=4)
    assert (found.name, found.site, found.slots, found.warm) == ("x", "lab", 4, 2)
    assert found.labels == {"a": "1", "b": "2"}
    assert found.access == tmp_path / "own"
    assert overridden(told, labels={}) == told


def test_flags_over_a_file_are_checked_and_so_is_how_they_fit_it(written):
    told = load(written("[work]\nslots = 2\nwarm = 2"))
    with pytest.raises(ConfigError, match="flags: site is 'a b'"):
        overridden(told, site="a b")
    with pytest.raises(ConfigError, match=r"work.warm is 2; .* work.slots, which is 1"):
        overridden(told, slots=1)


def test_a_relative_access_file_is_beside_the_configuration(written, tmp_path):
    (tmp_path / "own").touch()
    assert load(written("[mesh]\naccess = 'own'")).access == tmp_path / "own"


def test_a_configuration_error_survives_pickling(written):
    error = refusal(written("[work]\nslots = 0"))
    again = pickle.loads(pickle.dumps(error))
    assert (str(again), again.fields) == (str(error), error.fields)


@pytest.mark.parametrize("example", ["pi.toml", "login-node.toml"])
def test_the_examples_can_be_loaded(tmp_path, home, example):
    shutil.copy(AGENT / "examples" / example, tmp_path)
    (tmp_path / "mesh.access").touch()
    (home / ".config/gossamer").mkdir(parents=True)
    (home / ".config/gossamer/mesh.access").touch()
    found = load(tmp_path / example)
    assert found.access is not None
    assert found.memory_bytes > 0
    assert found.slots > 1
    assert found.busy_w > found.idle_w > 0
    assert found.data
    assert found.resources
    assert found.egress > 0


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd-analyze is not installed")
def test_systemd_finds_nothing_wrong_with_the_unit(tmp_path):
    command = tmp_path / "gossamer"
    command.write_text("#!/bin/sh\n")
    command.chmod(0o755)
    unit = tmp_path / "gossamer-agent.service"
    text = (AGENT / unit.name).read_text()
    assert "ExecStart=/usr/bin/env gossamer agent start --config" in text
    assert f"RestartPreventExitStatus={EXIT_STATUS}\n" in text
    unit.write_text(text.replace("/usr/bin/env gossamer", str(command)))
    verified = subprocess.run(
        ["systemd-analyze", "verify", str(unit)],  # noqa: S607 - where distributions put it differs
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    assert (verified.returncode, verified.stdout + verified.stderr) == (0, "")


def test_the_cache_is_bounded_by_itself_and_lies_where_it_is_put(tmp_path):
    usual = build()
    assert 0 < usual.cache_bytes <= 2 * 2**30
    assert (usual.cache_directory, usual.cache_share, usual.cache_direct) == (None, True, True)
    assert not build(cache_direct=False).cache_direct
    told = build(cache="1GiB", cache_directory=tmp_path, cache_share=False)
    assert (told.cache_bytes, told.cache_directory, told.cache_share) == (2**30, tmp_path, False)
    with pytest.raises(ConfigError, match=r"cache\.directory.*no directory that can be written to"):
        build(cache_directory=tmp_path / "missing")
