"""The MQTT subscriber as a part of the stack. It is one only where AM_MQTT_URL names a broker.

It listens nowhere: a file that it writes every second tells how it is. A broker that is away makes
the part no less ready, for it goes on by itself once that is back; `am doctor` tells of it.
"""

import json
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from infra.errors import NotReadyError
from infra.home import Home
from infra.parts import Part

NAME = "mqtt"
PULSE_FILE = "mqtt.json"
STALE_S = 30  # a busy machine may keep it waiting


@dataclass(frozen=True)
class Mqtt:
    """The subscriber of one home."""

    home: Home
    env: Mapping[str, str]

    def part(self) -> Part:
        """The supervised process."""
        return Part(
            name=NAME,
            argv=[sys.executable, "-m", "ingest_api.mqtt", str(self.pulse_file)],
            cwd=self.home.run,
            port=None,
            env=self.env,
            check=self._check,
            stop_patience_s=20,
        )

    @property
    def pulse_file(self) -> Path:
        """Where it tells how it is."""
        return self.home.run / PULSE_FILE

    def pulse(self) -> Mapping[str, Any]:
        """What it told last. Raises: NotReadyError where it has told nothing."""
        try:
            told: Mapping[str, Any] = json.loads(self.pulse_file.read_text())
        except FileNotFoundError:
            raise NotReadyError("mqtt: has not begun yet") from None
        return told

    def _check(self, started: float) -> None:
        # Its clock and the supervisor's may differ by the part of a second that it rounds off.
        if self.pulse()["at"] < max(started - 1, time.time() - STALE_S):
            raise NotReadyError("mqtt: no sign of life")
