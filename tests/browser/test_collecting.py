"""What a phone's browser collects is found in its stream's table, as that stream wants it."""

import io
import wave
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import psycopg
import pytest
from PIL import Image
from playwright.sync_api import BrowserContext, Page, expect
from psycopg.rows import dict_row

from resources.blobs import BlobStore
from resources.connections import Connections
from tests.browser.conftest import expect_counts, write_note

INDIA_MIN = 330  # the context's zone
ACCELERATION = {"x": 0.5, "y": 1.5, "z": 9.5}


def rows(database: psycopg.Connection, table: str, user: str) -> list[dict[str, Any]]:
    """A user's rows in the order of their times."""
    cursor = database.cursor(row_factory=dict_row)
    return cursor.execute(
        f"SELECT * FROM am.{table} WHERE user_id = %s ORDER BY ts", (user,)
    ).fetchall()


def expect_envelope(row: dict[str, Any], page: Page) -> None:
    """Its time is of these minutes, its zone the device's, its id the client's own."""
    assert abs(datetime.now(UTC) - row["ts"]) < timedelta(minutes=5)
    assert row["tz_offset_min"] == INDIA_MIN
    assert row["event_id"].version == 4
    assert row["device_id"].startswith("browser-")


def move(context: BrowserContext, page: Page) -> None:
    """Give the device sensors that are moved."""
    session = context.new_cdp_session(page)
    for kind in ("accelerometer", "linear-acceleration", "gyroscope"):
        sensor = {"available": True, "maximumFrequency": 60}
        session.send(
            "Emulation.setSensorOverrideEnabled",
            {"enabled": True, "type": kind, "metadata": sensor},
        )
        reading = {"type": kind, "reading": {"xyz": ACCELERATION}}
        session.send("Emulation.setSensorOverrideReadings", reading)


def test_the_location_becomes_a_fix(phone: Page, database: psycopg.Connection, user: str) -> None:
    phone.get_by_role("switch", name="Location").check()
    expect_counts(phone, sent="1", queued="0")
    (fix,) = rows(database, "device_sensor_gps_raw", user)
    expect_envelope(fix, phone)
    assert (fix["latitude"], fix["longitude"], fix["accuracy_m"]) == (45.2269, 13.5966, 8)
    assert (fix["speed_m_s"], fix["heading_deg"], fix["altitude_m"]) == (None, None, None)
    assert fix["extra"] is None


def test_motion_becomes_readings_of_the_accelerometer(
    context: BrowserContext, phone: Page, database: psycopg.Connection, user: str
) -> None:
    move(context, phone)
    phone.get_by_role("switch", name="Motion").check()
    expect(phone.locator("#motion-told")).to_contain_text("readings since")
    phone.get_by_role("switch", name="Motion").uncheck()
    expect_counts(phone, queued="0")
    expect(phone.locator("#sent")).not_to_have_text("0")
    readings = rows(database, "device_sensor_accelerometer_raw", user)
    expect(phone.locator("#sent")).to_have_text(str(len(readings)))
    expect_envelope(readings[0], phone)
    measured = [readings[-1][name] for name in ("x_m_s2", "y_m_s2", "z_m_s2")]
    assert measured == pytest.approx(list(ACCELERATION.values()), abs=0.06)  # browsers round them
    assert len({reading["event_id"] for reading in readings}) == len(readings)


def test_what_the_microphone_hears_becomes_wav_at_16_khz(
    phone: Page, database: psycopg.Connection, connections: Connections, user: str
) -> None:
    phone.get_by_role("switch", name="Microphone").check()
    is_loud = "() => document.querySelector('#level').value > 0.2"  # it beeps each second
    phone.wait_for_function(is_loud)
    phone.get_by_role("switch", name="Microphone").uncheck()
    expect_counts(phone, sent="1", queued="0")
    (chunk,) = rows(database, "device_audio_raw", user)
    expect_envelope(chunk, phone)
    assert (chunk["sample_rate_hz"], chunk["channels"]) == (16_000, 1)
    assert chunk["media_type"] == "audio/wav"
    content = BlobStore(connections).get(chunk["blob_key"])
    with wave.open(io.BytesIO(content)) as sound:
        samples = np.frombuffer(sound.readframes(sound.getnframes()), np.int16)
    assert len(samples) * 1000 // 16_000 == pytest.approx(chunk["duration_ms"], abs=1)
    assert np.abs(samples).max() > 1_000


def test_a_photo_becomes_a_jpeg_of_the_cameras_size(
    phone: Page, database: psycopg.Connection, connections: Connections, user: str
) -> None:
    phone.get_by_role("button", name="Open the camera").click()
    phone.get_by_role("button", name="Take the photo").click()
    expect_counts(phone, sent="1", queued="0")
    (photo,) = rows(database, "device_image_camera_raw", user)
    expect_envelope(photo, phone)
    with Image.open(io.BytesIO(BlobStore(connections).get(photo["blob_key"]))) as picture:
        assert (picture.format, picture.size) == ("JPEG", (photo["width_px"], photo["height_px"]))
    assert phone.locator("#finder").evaluate("it => it.videoWidth") == photo["width_px"]
    assert photo["camera_type"] is None  # the fake camera does not tell its side
    phone.get_by_role("button", name="Close the camera").click()
    expect(phone.locator("#finder")).to_be_hidden()


def test_a_note_is_kept_word_for_word(phone: Page, database: psycopg.Connection, user: str) -> None:
    phone.get_by_label("Title").fill("Bread")
    write_note(phone, "Feed the starter.\nAlso: “crème” 🍞")
    expect_counts(phone, sent="1", queued="0")
    (note,) = rows(database, "digital_notes_raw", user)
    expect_envelope(note, phone)
    assert (note["title"], note["content"]) == ("Bread", "Feed the starter.\nAlso: “crème” 🍞")
    assert note["note_type"] == "text"


def test_what_was_on_is_on_again_after_a_reload(phone: Page) -> None:
    phone.get_by_role("switch", name="Location").check()
    expect_counts(phone, sent="1")
    phone.reload()
    expect(phone.get_by_role("switch", name="Location")).to_be_checked()
    expect(phone.get_by_role("switch", name="Microphone")).not_to_be_checked()


def deny(context: BrowserContext, page: Page, names: list[str]) -> None:
    """As a person does who answers the browser's question with no."""
    target = context.new_cdp_session(page).send("Target.getTargetInfo")["targetInfo"]
    assert context.browser is not None
    session = context.browser.new_browser_cdp_session()
    for name in names:
        asked = {"permission": {"name": name}, "setting": "denied"}
        asked["browserContextId"] = target["browserContextId"]
        session.send("Browser.setPermission", asked)


def test_a_denied_permission_is_told_with_what_to_do(context: BrowserContext, phone: Page) -> None:
    deny(context, phone, ["geolocation", "microphone", "camera"])
    for name in ("Location", "Microphone"):
        phone.get_by_role("switch", name=name).click()
        told = phone.locator(f"#{name.lower()}-told")
        expect(told).to_contain_text("Allow it in the browser's site settings")
        expect(phone.get_by_role("switch", name=name)).not_to_be_checked()
    phone.get_by_role("button", name="Open the camera").click()
    expect(phone.locator("#camera-told")).to_contain_text("may not use the camera")


def test_a_device_without_a_sensor_says_so(phone: Page) -> None:
    phone.get_by_role("switch", name="Motion").click()
    expect(phone.locator("#motion-told")).to_contain_text("it has no sensor")
    expect(phone.get_by_role("switch", name="Motion")).not_to_be_checked()


def test_two_tabs_do_not_collect_the_same_twice(context: BrowserContext, phone: Page) -> None:
    phone.get_by_role("switch", name="Location").check()
    expect_counts(phone, sent="1")
    other = context.new_page()
    other.goto(phone.url)
    other.get_by_role("switch", name="Location").click()
    expect(other.locator("#location-told")).to_contain_text("Another tab")
    expect_counts(other, sent="1")
    phone.close()
    other.get_by_role("switch", name="Location").check()
    expect_counts(other, sent="2")
