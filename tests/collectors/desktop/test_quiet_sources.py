"""Sources that need no screen: battery, network, Wi-Fi, programs, the lock."""

import os
import select
import shutil
import subprocess
import threading
from collections.abc import Iterator, Mapping
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jeepney import (
    HeaderFields,
    MessageType,
    message_bus,
    new_error,
    new_method_return,
)
from jeepney.io.blocking import open_dbus_connection
from jeepney.low_level import Message

from am_assets.streams.network import WIFI, Wifi
from am_assets.streams.state import PowerState
from collectors.desktop.errors import SourceUnavailableError
from collectors.desktop.exclusions import Exclusions, compiled
from collectors.desktop.lock import LOGIND, LockWatch
from collectors.desktop.observation import Moment
from collectors.desktop.pictures import CELLS, changed_share
from collectors.desktop.programs import Names, installed, program_id
from collectors.desktop.service import unit_text
from collectors.desktop.sources.apps import AppsSource
from collectors.desktop.sources.battery import BatterySource
from collectors.desktop.sources.lock import LockSource
from collectors.desktop.sources.network import NetworkSource
from collectors.desktop.sources.wifi import MANAGER, WifiSource, channel, security

NOW = Moment(datetime(2026, 3, 1, 12, tzinfo=UTC), 100.0, 100.0)


def supply(folder: Path, name: str, **facts: object) -> None:
    """As the kernel writes it."""
    (folder / name).mkdir(parents=True, exist_ok=True)
    lines = [f"POWER_SUPPLY_{key.upper()}={value}" for key, value in facts.items()]
    (folder / name / "uevent").write_text("\n".join(lines) + "\n")


def test_the_battery_is_read_as_the_kernel_tells_it(tmp_path: Path) -> None:
    supply(tmp_path, "hidpp_battery_0", type="Battery", scope="Device", capacity=100)
    supply(tmp_path, "AC", type="Mains", online=1)
    supply(
        tmp_path,
        "BAT0",
        type="Battery",
        capacity=81,
        status="Charging",
        voltage_now=12_345_000,
        temp=314,
    )
    lid = tmp_path / "lid"
    (lid / "LID0").mkdir(parents=True)
    (lid / "LID0" / "state").write_text("state:      open\n")
    source = BatterySource(tmp_path, lid)
    source.open()
    (row,) = source.poll(NOW)
    assert row.values == {
        "battery_level": 81.0,
        "is_charging": True,
        "is_plugged_in": True,
        "power_source": "ac",
        "is_lid_closed": False,
        "voltage_v": 12.345,
        "battery_temperature_c": 31.4,
    }
    PowerState.model_validate(row.values)
    supply(tmp_path, "AC", type="Mains", online=0)
    supply(tmp_path, "BAT0", type="Battery", capacity=80, status="Discharging")
    (row,) = source.poll(NOW)
    assert (row.values["power_source"], row.values["is_charging"]) == ("battery", False)


def test_a_machine_without_a_battery_says_so(tmp_path: Path) -> None:
    with pytest.raises(SourceUnavailableError, match="no battery"):
        BatterySource(tmp_path).open()
    with pytest.raises(SourceUnavailableError, match="no battery"):
        BatterySource(tmp_path / "nowhere").open()


@given(st.lists(st.frozensets(st.sampled_from(["eth0", "wlan0", "wwan0", "tun0"])), max_size=8))
def test_the_networks_events_add_up_to_what_is_up(looks: list[frozenset[str]]) -> None:
    left = iter(looks)
    source = NetworkSource(lambda: next(left))
    up: set[str] = set()
    for look in looks:
        for row in source.poll(NOW):
            kind, name = row.values["event_type"], row.values["description"]
            (up.add if kind == "network_up" else up.remove)(name)
        assert up == look


def test_the_lock_is_told_when_it_changes() -> None:
    source = LockSource()
    states = [False, False, True, True, False]
    told = [
        row.values["event_type"]
        for is_locked in states
        for row in source.poll(Moment(NOW.ts, 1.0, 1.0, is_locked))
    ]
    assert told == ["device_lock", "device_unlock"]


DESKTOP = "[Desktop Entry]\nName={name}\nExec={command} %u\nStartupWMClass={wm_class}\n"


@pytest.fixture
def programs(tmp_path: Path) -> Names:
    described = {
        "org.example.Editor": ("The Editor", "env LANG=C /usr/bin/editor", "Editor"),
        "keepassxc": ("KeePassXC", "keepassxc", "KeePassXC"),
        "broken": ("", "'", ""),
    }
    for program, (name, command, wm_class) in described.items():
        text = DESKTOP.format(name=name, command=command, wm_class=wm_class)
        (tmp_path / f"{program}.desktop").write_text(text)
    return Names(installed([tmp_path, tmp_path / "nowhere"]))


def test_programs_are_known_by_class_command_and_group(programs: Names) -> None:
    assert programs.of_app("editor") == programs.of_app("EDITOR") == "The Editor"
    assert programs.of_app("firefox") is None
    group = "0::/user.slice/app.slice/app-gnome-org.example.Editor-4711.scope\n"
    assert programs.of_process("python3", cgroup=group) is not None
    assert programs.of_process("editor", cgroup="0::/\n") is not None
    assert programs.of_process("python3", cgroup="0::/\n") is None


@pytest.mark.parametrize(
    ("group", "name"),
    [
        ("0::/x/app-org.gnome.Maps-12.scope", "org.gnome.Maps"),
        ("0::/x/app-gnome-google\\x2dchrome-12.scope", "google-chrome"),
        ("0::/x/app-org.kde.kate@5af.service", "org.kde.kate"),
        ("0::/x/session-2.scope", None),
    ],
)
def test_a_control_group_names_its_program(group: str, name: str | None) -> None:
    assert program_id(group) == name


def test_running_programs_are_told_when_they_change_without_command_lines_or_excluded_ones(
    tmp_path: Path,
) -> None:
    own = psutil.Process().name()
    for name in ("One", "Two"):
        text = DESKTOP.format(name=name, command=own if name == "One" else "x", wm_class=name)
        (tmp_path / f"{name}.desktop").write_text(text)
    names = Names(installed([tmp_path]))
    running: list[psutil.Process] = [psutil.Process()]
    source = AppsSource(names, Exclusions(), lambda: iter(running))
    (row,) = source.poll(NOW)
    (app,) = row.values["running_applications"]
    assert (app["name"], app["package_name"], app["pid"]) == ("One", "One", os.getpid())
    assert set(app) == {"pid", "name", "package_name", "launch_date"}
    assert source.poll(NOW) == []
    running.clear()
    assert source.poll(NOW)[0].values["running_applications"] == []
    hidden = AppsSource(
        names, Exclusions(apps=(compiled("^one$"),)), lambda: iter([psutil.Process()])
    )
    assert hidden.poll(NOW)[0].values["running_applications"] == []


@given(st.integers(0, 255), st.integers(0, 255), st.floats(0, 1))
def test_the_share_that_changed_is_the_share_of_cells_that_differ(
    before: int, after: int, share: float
) -> None:
    width, height = CELLS
    one = np.full((height, width), before, dtype=np.int16)
    two = one.copy()
    rows = int(height * share)
    two[:rows] = after
    expected = rows / height if abs(after - before) > 12 else 0.0
    assert changed_share(one, two) == pytest.approx(expected)
    assert changed_share(two, one) == pytest.approx(expected)


def test_words_of_the_service_are_quoted_as_systemd_reads_them() -> None:
    text = unit_text(["/opt/my am/am", "collect", "--settings", '/x/100%"$HOME'])
    assert 'ExecStart="/opt/my am/am" collect --settings "/x/100%%\\"$$HOME"\n' in text


Facts = Mapping[tuple[str, str], Any]


class Service:
    """A service on a bus that answers `Get` by path and property; values with their type."""

    def __init__(self, address: str, name: str, facts: Facts) -> None:
        self._facts = facts
        self._connection = open_dbus_connection(bus=address)
        self._connection.send_and_get_reply(message_bus.RequestName(name))
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._is_over.set()
        self._thread.join(5)
        self._connection.close()

    def _serve(self) -> None:
        while not self._is_over.is_set():
            try:
                asked = self._connection.receive(timeout=0.05)
            except TimeoutError:
                continue
            if asked.header.message_type is MessageType.method_call:
                self._connection.send(self._answer(asked))

    def _answer(self, asked: Message) -> Message:
        path = asked.header.fields[HeaderFields.path]
        found = self._facts.get((path, asked.body[1] if len(asked.body) > 1 else ""))
        if found is None:
            return new_error(asked, "org.example.Nothing", "s", ("nothing",))
        return new_method_return(asked, "v", (found,))


@pytest.fixture
def bus() -> Iterator[str]:
    """A D-Bus of the test's own."""
    program = shutil.which("dbus-daemon")
    if program is None:
        assert "CI" not in os.environ, "dbus-daemon is missing: apt-get install dbus"
        pytest.skip("needs dbus-daemon (apt-get install dbus)")
    reading, writing = os.pipe()
    command = [program, "--session", "--nofork", "--nopidfile", f"--print-address={writing}"]
    with subprocess.Popen(command, pass_fds=(writing,), stderr=subprocess.DEVNULL) as daemon:
        os.close(writing)
        assert select.select([reading], [], [], 20)[0], "dbus-daemon did not start"
        yield os.read(reading, 500).decode().strip()
        os.close(reading)
        daemon.terminate()


DEVICE, POINT, OTHER = "/d/1", "/ap/1", "/ap/2"
NETWORKS: Facts = {
    ("/org/freedesktop/NetworkManager", "Devices"): ("ao", ["/d/0", DEVICE]),
    ("/d/0", "DeviceType"): ("u", 1),
    (DEVICE, "DeviceType"): ("u", 2),
    (DEVICE, "ActiveAccessPoint"): ("o", POINT),
    (DEVICE, "AccessPoints"): ("ao", [POINT, OTHER, "/ap/gone"]),
    (DEVICE, "Ip4Config"): ("o", "/ip"),
    ("/ip", "AddressData"): ("aa{sv}", [{"address": ("s", "192.168.1.17")}]),
    **{
        (path, name): value
        for path, ssid in ((POINT, "garden"), (OTHER, "caf\u00e9"))
        for name, value in {
            "Ssid": ("ay", ssid.encode()),
            "HwAddress": ("s", "F0:9F:C2:11:22:33"),
            "Strength": ("y", 77),
            "Frequency": ("u", 5180),
            "Flags": ("u", 1),
            "WpaFlags": ("u", 0),
            "RsnFlags": ("u", 0x188 if ssid == "garden" else 0x400),
        }.items()
    },
}


def test_wifi_is_told_as_networkmanager_sees_it(bus: str) -> None:
    source = WifiSource(bus)
    with closing(Service(bus, MANAGER, NETWORKS)):
        source.open()
        first, second = (row.values for row in source.poll(NOW))
        source.close(NOW)
    assert first == {
        "ssid": "garden",
        "bssid": "f0:9f:c2:11:22:33",
        "signal_strength": 77.0,
        "frequency_mhz": 5180.0,
        "channel": 36,
        "security": "wpa2",
        "is_connected": True,
        "ip_address": "192.168.1.17",
    }
    Wifi.model_validate(first)
    assert (second["ssid"], second["is_connected"], second["security"]) == ("café", False, "wpa3")
    assert WIFI.row is Wifi


def test_without_networkmanager_wifi_says_so(bus: str, tmp_path: Path) -> None:
    with pytest.raises(SourceUnavailableError, match="NetworkManager does not answer"):
        WifiSource(bus).open()
    with pytest.raises(SourceUnavailableError, match="can't be reached"):
        WifiSource(f"unix:path={tmp_path}/none").open()


def test_a_session_that_the_login_service_calls_locked_is_locked(bus: str) -> None:
    name, path = LOGIND
    watch = LockWatch({"system": bus})
    assert not watch.is_locked(0.0)
    with closing(Service(bus, name, {(path, "LockedHint"): ("b", True)})):
        assert not watch.is_locked(0.5)  # asked at most once a second
        assert watch.is_locked(2.0)
    assert not watch.is_locked(4.0)
    watch.close()
    assert not LockWatch({}).is_locked(0.0)


def test_channels_and_security_are_named_as_people_know_them() -> None:
    assert [channel(mhz) for mhz in (2412, 2472, 2484, 5180, 5885, 5955, 900)] == [
        1, 13, 14, 36, 177, 1, None,
    ]  # fmt: skip
    kinds = [security(0, 0, 0), security(1, 0, 0), security(1, 0x108, 0)]
    assert kinds == ["open", "wep", "wpa"]
