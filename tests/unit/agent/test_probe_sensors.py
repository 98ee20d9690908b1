from __future__ import annotations

import pytest

from gossamer_agent.probe import sensors
from gossamer_mesh.capability import Battery, Sensor

THERMAL = "sys/class/thermal"
HWMON = "sys/class/hwmon"
SUPPLY = "sys/class/power_supply"


@pytest.fixture
def place(tmp_path):
    def write(files):
        for name, text in files.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"{text}\n")
        return tmp_path

    return write


def test_thermal_zones_and_monitors_are_read_in_celsius(place):
    root = place(
        {
            f"{THERMAL}/thermal_zone0/type": "cpu-thermal",
            f"{THERMAL}/thermal_zone0/temp": "48312",
            f"{THERMAL}/cooling_device0/type": "fan",
            f"{HWMON}/hwmon1/name": "nvme",
            f"{HWMON}/hwmon1/temp1_label": "Composite",
            f"{HWMON}/hwmon1/temp1_input": "-2500",
            f"{HWMON}/hwmon1/temp2_input": "31000",
            f"{HWMON}/hwmon1/fan1_input": "900",
        }
    )
    assert sensors.temperatures(root) == (
        Sensor("cpu-thermal", 48.312),
        Sensor("nvme/Composite", -2.5),
        Sensor("nvme/temp2", 31.0),
    )


def test_a_sensor_that_shows_nothing_or_less_than_absolute_zero_is_left_out(place):
    root = place(
        {
            f"{THERMAL}/thermal_zone0/temp": "-274000",
            f"{THERMAL}/thermal_zone1/temp": "",
            f"{THERMAL}/thermal_zone2/type": "asleep",
            f"{THERMAL}/thermal_zone10/temp": "20000",
        }
    )
    assert sensors.temperatures(root) == (Sensor("thermal_zone10", 20.0),)


def test_a_thermal_zone_shown_again_as_a_monitor_counts_once(place):
    root = place(
        {
            f"{THERMAL}/thermal_zone0/type": "acpitz",
            f"{THERMAL}/thermal_zone0/temp": "40000",
            f"{HWMON}/hwmon0/name": "acpitz",
            f"{HWMON}/hwmon0/temp1_input": "40000",
        }
    )
    (root / HWMON / "hwmon0/device").symlink_to("../../thermal/thermal_zone0")
    assert sensors.temperatures(root) == (Sensor("acpitz", 40.0),)


def test_a_server_with_a_sensor_a_core_shows_only_the_first_of_them(place):
    cores = {f"{HWMON}/hwmon0/temp{core}_input": str(core * 1000) for core in range(1, 101)}
    found = sensors.temperatures(place(cores))
    assert [each.celsius for each in found] == list(range(1, sensors.MOST_SENSORS + 1))


def test_a_battery_is_read(place):
    root = place(
        {
            f"{SUPPLY}/AC/type": "Mains",
            f"{SUPPLY}/BAT0/type": "Battery",
            f"{SUPPLY}/BAT0/capacity": "80",
            f"{SUPPLY}/BAT0/status": "Charging",
        }
    )
    assert sensors.battery(root) == Battery(0.8, charging=True)


@pytest.mark.parametrize("quantity", ["energy", "charge"])
def test_a_battery_without_a_capacity_is_measured_by_what_is_in_it(place, quantity):
    root = place(
        {
            f"{SUPPLY}/BAT0/type": "Battery",
            f"{SUPPLY}/BAT0/{quantity}_now": "25",
            f"{SUPPLY}/BAT0/{quantity}_full": "100",
            f"{SUPPLY}/BAT0/status": "Discharging",
        }
    )
    assert sensors.battery(root) == Battery(0.25, charging=False)


def test_several_batteries_are_one_with_the_mean_charge(place):
    root = place(
        {
            f"{SUPPLY}/BAT0/type": "Battery",
            f"{SUPPLY}/BAT0/capacity": "100",
            f"{SUPPLY}/BAT0/status": "Full",
            f"{SUPPLY}/BAT1/type": "Battery",
            f"{SUPPLY}/BAT1/capacity": "50",
            f"{SUPPLY}/BAT1/status": "Charging",
        }
    )
    assert sensors.battery(root) == Battery(0.75, charging=True)


def test_the_battery_of_a_mouse_and_one_without_a_reading_are_none(place):
    root = place(
        {
            f"{SUPPLY}/hidpp/type": "Battery",
            f"{SUPPLY}/hidpp/scope": "Device",
            f"{SUPPLY}/hidpp/capacity": "50",
            f"{SUPPLY}/BAT0/type": "Battery",
        }
    )
    assert sensors.battery(root) is None


def test_a_kernel_without_sensors_shows_none(tmp_path):
    assert sensors.temperatures(tmp_path) == ()
    assert sensors.battery(tmp_path) is None
