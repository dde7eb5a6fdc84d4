"""What the benches send: readings of one accelerometer, fifty a second, in each door's form."""

import io
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa

STREAM = "device.sensor.accelerometer.raw"
PATH = f"/v1/streams/{STREAM}"
TABLE = "am.device_sensor_accelerometer_raw"
ARROW = "application/vnd.apache.arrow.stream"
BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
INTERVAL = timedelta(milliseconds=20)


def times(number: int) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Microseconds since 1970."""
    return int(BEGIN.timestamp() * 1e6) + 20_000 * np.arange(number)


def axes(number: int) -> np.ndarray[Any, np.dtype[np.float64]]:
    """One row an axis, as a sensor's text has them."""
    return np.random.default_rng(7).normal(0, 3, (3, number)).round(4)


def messages(number: int, *, device: str) -> list[dict[str, Any]]:
    """As JSON clients send them."""
    x, y, z = axes(number).tolist()
    return [
        {
            "device_id": device,
            "recorded_at": (BEGIN + index * INTERVAL).isoformat(),
            "x": x[index],
            "y": y[index],
            "z": z[index],
        }
        for index in range(number)
    ]


def arrays(number: int, size: int, *, device: str) -> list[bytes]:
    """JSON arrays of so many messages."""
    rows = messages(number, device=device)
    return [json.dumps(rows[at : at + size]).encode() for at in range(0, number, size)]


def table(number: int, *, device: str) -> pa.Table:
    """As Arrow has them."""
    x, y, z = axes(number)
    columns: dict[str, Any] = {
        "device_id": pa.repeat(pa.scalar(device), number),
        "ts": pa.array(times(number), pa.timestamp("us", "UTC")),
    }
    return pa.table({**columns, "x": x, "y": y, "z": z})


def streams(number: int, size: int, *, device: str) -> list[bytes]:
    """Arrow IPC streams of so many rows."""
    whole = table(number, device=device)
    return [_ipc(whole.slice(at, size)) for at in range(0, number, size)]


def lines(number: int, size: int, *, device: str) -> list[bytes]:
    """InfluxDB's line protocol, times in microseconds."""
    told = [
        f"acceleration,user=bench,device={device} x={x},y={y},z={z} {ts}"
        for x, y, z, ts in zip(*axes(number).tolist(), times(number).tolist(), strict=True)
    ]
    return ["\n".join(told[at : at + size]).encode() for at in range(0, number, size)]


def stored(number: int, *, device: str) -> pa.Table:
    """As the table has them, ready to be copied."""
    x, y, z = axes(number)
    ids = np.random.default_rng(8).bytes(16 * number)
    buffers = [None, pa.py_buffer(ids)]
    moments = pa.array(times(number), pa.timestamp("us", "UTC"))
    return pa.table(
        {
            "user_id": pa.repeat(pa.scalar("bench"), number),
            "device_id": pa.repeat(pa.scalar(device), number),
            "ts": moments,
            "event_id": pa.FixedSizeBinaryArray.from_buffers(pa.binary(16), number, buffers),
            "received_at": moments,
            "schema_version": pa.repeat(pa.scalar(1), number),
            "x_m_s2": x,
            "y_m_s2": y,
            "z_m_s2": z,
        }
    )


def _ipc(part: pa.Table) -> bytes:
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, part.schema) as writer:
        writer.write_table(part)
    return sink.getvalue()
