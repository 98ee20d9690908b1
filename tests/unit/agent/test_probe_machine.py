from __future__ import annotations

import os

import pytest

from gossamer_agent.probe import attribute, cgroup, cpu, disk, host, memory
from gossamer_mesh.capability import Cpu

GIB = 2**30


@pytest.fixture
def place(tmp_path):
    def write(files):
        for name, text in files.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return tmp_path

    return write


def test_an_attribute_is_its_text_without_padding(place):
    root = place({"model": "Raspberry Pi 4\0", "empty": "\n"})
    assert attribute.read(root / "model") == "Raspberry Pi 4"
    assert attribute.read(root / "empty") == ""


def test_an_attribute_that_cannot_be_read_is_absent(tmp_path):
    assert attribute.read(tmp_path / "none") is None
    assert attribute.read(tmp_path) is None


def test_an_attribute_is_not_read_to_its_end_when_it_is_long(place):
    assert len(attribute.read(place({"long": "x" * 10_000}) / "long")) == 4096


V2 = {"proc/self/cgroup": "0::/user.slice/job\n"}
V1 = {"proc/self/cgroup": "5:cpuset:/\n4:memory:/jobs/7\n3:cpu,cpuacct:/jobs/7\n0::/\n"}


def test_version_2_limits_are_read(place):
    root = place(
        V2
        | {
            "sys/fs/cgroup/user.slice/job/cpu.max": "150000 100000\n",
            "sys/fs/cgroup/user.slice/job/memory.max": f"{2 * GIB}\n",
        }
    )
    assert cgroup.cpu_quota(root) == 1.5
    assert cgroup.memory_limit(root) == 2 * GIB


def test_the_tightest_limit_of_all_ancestors_holds(place):
    root = place(
        V2
        | {
            "sys/fs/cgroup/user.slice/job/cpu.max": "max 100000\n",
            "sys/fs/cgroup/user.slice/cpu.max": "50000 100000\n",
            "sys/fs/cgroup/cpu.max": "400000 100000\n",
            "sys/fs/cgroup/user.slice/job/memory.max": f"{2 * GIB}\n",
            "sys/fs/cgroup/user.slice/memory.max": f"{GIB}\n",
            "sys/fs/cgroup/memory.max": "max\n",
        }
    )
    assert cgroup.cpu_quota(root) == 0.5
    assert cgroup.memory_limit(root) == GIB


def test_version_1_limits_are_read(place):
    root = place(
        V1
        | {
            "sys/fs/cgroup/cpu/jobs/7/cpu.cfs_quota_us": "300000\n",
            "sys/fs/cgroup/cpu/jobs/7/cpu.cfs_period_us": "100000\n",
            "sys/fs/cgroup/memory/jobs/7/memory.limit_in_bytes": f"{3 * GIB}\n",
            "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n",
        }
    )
    assert cgroup.cpu_quota(root) == 3.0
    assert cgroup.memory_limit(root) == 3 * GIB


def test_version_2_is_also_found_beside_version_1(place):
    root = place(
        V1
        | {
            "sys/fs/cgroup/unified/memory.max": f"{GIB}\n",
            "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1\n",
        }
    )
    assert cgroup.memory_limit(root) == GIB
    assert cgroup.cpu_quota(root) is None


@pytest.mark.parametrize("path", ["/docker/4f2a", "/../other/job"])
def test_in_a_container_the_mount_itself_is_the_group(place, path):
    root = place(
        {
            "proc/self/cgroup": f"0::{path}\n",
            "sys/fs/cgroup/memory.max": f"{GIB}\n",
            "sys/fs/cgroup/cpu.max": "200000 100000\n",
        }
    )
    assert cgroup.memory_limit(root) == GIB
    assert cgroup.cpu_quota(root) == 2.0


@pytest.mark.parametrize("files", [{}, V1, V2])
def test_no_limit_is_none(place, files):
    root = place(files)
    assert cgroup.cpu_quota(root) is None
    assert cgroup.memory_limit(root) is None


def test_a_quota_takes_cores_away_but_never_the_last(place):
    quota = "sys/fs/cgroup/user.slice/job/cpu.max"
    assert cpu.cores(place(V2 | {quota: "150000 100000"})) == 1
    assert cpu.cores(place(V2 | {quota: "20000 100000"})) == 1
    assert cpu.cores(place(V2 | {quota: "9900000 100000"})) == len(os.sched_getaffinity(0))


def test_a_cpu_has_its_model_and_its_fastest_clock(place):
    root = place(
        {
            "proc/cpuinfo": "processor\t: 0\nmodel name\t: AMD EPYC\n",
            "sys/devices/system/cpu/cpufreq/policy0/cpuinfo_max_freq": "1800000\n",
            "sys/devices/system/cpu/cpufreq/policy4/cpuinfo_max_freq": "2400000\n",
        }
    )
    assert cpu.probe(root) == Cpu(len(os.sched_getaffinity(0)), "AMD EPYC", 2400.0)


def test_a_board_names_itself_in_the_device_tree(place):
    root = place(
        {
            "proc/cpuinfo": "processor\t: 0\nBogoMIPS\t: 108.00\n",
            "proc/device-tree/model": "Raspberry Pi 4 Model B Rev 1.4\0",
        }
    )
    assert cpu.probe(root).model == "Raspberry Pi 4 Model B Rev 1.4"


def test_memory_is_the_machines_or_the_limit_if_that_is_less(place):
    limit = "sys/fs/cgroup/user.slice/job/memory.max"
    root = place(V2 | {"proc/meminfo": "MemFree: 1 kB\nMemTotal:        4194304 kB\n"})
    assert memory.probe(root) == 4 * GIB
    assert memory.probe(place({limit: f"{GIB}\n"})) == GIB
    assert memory.probe(place({limit: f"{64 * GIB}\n"})) == 4 * GIB


def test_memory_without_meminfo_is_the_limit_or_unknown(place):
    assert memory.probe(place({})) == 0
    limited = V2 | {"sys/fs/cgroup/user.slice/job/memory.max": f"{GIB}\n"}
    assert memory.probe(place(limited)) == GIB


def test_disk_is_what_this_user_may_write(tmp_path):
    found = os.statvfs(tmp_path)
    assert 0 < disk.probe(tmp_path) <= found.f_bfree * found.f_frsize


def test_a_directory_that_is_not_there_has_no_disk(tmp_path):
    with pytest.raises(FileNotFoundError):
        disk.probe(tmp_path / "none")


def kernel(machine):
    return os.uname_result(("Linux", "pi-1", "6.1.0", "#1 SMP", machine))


def test_a_host_has_the_name_of_its_distribution(place):
    root = place({"etc/os-release": 'ID=debian\nPRETTY_NAME="Debian \\"12\\" (bookworm)"\n'})
    found = host.probe(root, kernel=kernel("aarch64"), wide=True)
    assert found == host.Host("pi-1", 'Debian "12" (bookworm)', "aarch64")


def test_a_host_without_os_release_has_the_name_of_its_kernel(place):
    assert host.probe(place({}), kernel=kernel("riscv64")).os == "Linux 6.1.0"


def test_os_release_is_also_looked_for_under_usr(place):
    root = place({"usr/lib/os-release": "PRETTY_NAME=Alpine\n"})
    assert host.probe(root).os == "Alpine"


@pytest.mark.parametrize(
    ("machine", "arch"), [("aarch64", "armv7l"), ("x86_64", "i686"), ("armv6l", "armv6l")]
)
def test_a_32_bit_python_on_a_64_bit_kernel_says_what_it_can_load(place, machine, arch):
    assert host.probe(place({}), kernel=kernel(machine), wide=False).arch == arch
