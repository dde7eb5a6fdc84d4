"""Location apps other than OwnTracks: each in its own units, each with its own reply."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from tests.ingest_api.adapters.conftest import RowsOf

GPS = "device.sensor.gps.raw"
POWER = "device.state.power.raw"
NEW_YEAR = datetime(2024, 1, 1, tzinfo=UTC)
STAMP = 1704067200
FIX = "ts, device_id, latitude, longitude, altitude_m, accuracy_m, heading_deg, speed_m_s"
Letters = Callable[[], list[tuple[Any, ...]]]


def feature(**changes: Any) -> dict[str, Any]:
    """A point as Overland sends it."""
    properties = {
        "timestamp": "2015-10-01T08:00:00-0700",
        "altitude": 12,
        "speed": 4,
        "course": 90,
        "horizontal_accuracy": 30,
        "vertical_accuracy": 3,
        "motion": ["driving", "stationary"],
        "battery_state": "charging",
        "battery_level": 0.8,
        "device_id": "iphone",
        "wifi": "home",
        **changes,
    }
    place = {"type": "Point", "coordinates": [-122.030581, 37.3318]}
    return {"type": "Feature", "geometry": place, "properties": properties}


def test_overland_points_become_fixes_and_the_reply_lets_the_phone_forget_them(
    client: httpx.Client, rows_of: RowsOf
) -> None:
    answer = client.post("/overland", json={"locations": [feature()]})
    assert (answer.status_code, answer.text) == (200, '{"result":"ok"}')
    when = datetime(2015, 10, 1, 15, tzinfo=UTC)
    assert rows_of(GPS, FIX) == [(when, "iphone", 37.3318, -122.030581, 12, 30, 90, 4)]
    assert rows_of(GPS, "tz_offset_min, extra->'motion'") == [(-420, ["driving", "stationary"])]
    assert rows_of(POWER, "ts, battery_level, is_charging") == [(when, 80, True)]
    assert rows_of("device.network.wifi.raw", "ssid, is_connected") == [("home", True)]


def test_overlands_minus_one_is_unknown_and_not_a_measurement(
    client: httpx.Client, rows_of: RowsOf
) -> None:
    names = ("speed", "course", "vertical_accuracy", "battery_level")
    client.post("/overland", json=[feature(**dict.fromkeys(names, -1))])
    assert rows_of(GPS, "speed_m_s, heading_deg, altitude_m") == [(None, None, None)]
    sent = rows_of(GPS, "extra->>'speed_as_sent', extra->>'vertical_accuracy'")
    assert sent == [("-1", "-1")]
    assert rows_of(POWER, "ts") == []


def test_a_bad_point_in_a_batch_is_a_dead_letter_and_the_phone_never_hears_of_it(
    client: httpx.Client, rows_of: RowsOf, letters_of: Letters
) -> None:
    broken = feature(timestamp="yesterday", wifi="", battery_level=-1)
    batch = {"locations": [feature(), broken, 17, {"type": "Feature"}]}
    assert client.post("/overland", json=batch).json() == {"result": "ok"}
    assert len(rows_of(GPS, "ts")) == 1
    assert sorted(code for _, code, _ in letters_of()) == ["bad_time", "bad_value", "bad_value"]


@pytest.mark.parametrize("path", ["/overland", "/colota", "/sensor-logger", "/health-auto-export"])
def test_a_body_that_is_no_json_is_kept_and_no_app_hears_an_error(
    path: str, client: httpx.Client, letters_of: Letters
) -> None:
    assert client.post(path, content=b'{"locations": [').status_code == 200
    ((door, code, payload),) = letters_of()
    assert (door, code, bytes(payload)) == (path, "not_json", b'{"locations": [')


def test_a_body_that_is_not_compressed_as_it_says_is_kept_as_it_came(
    client: httpx.Client, letters_of: Letters
) -> None:
    answer = client.post("/overland", content=b"no gzip", headers={"Content-Encoding": "gzip"})
    assert answer.json() == {"result": "ok"}
    assert [(code, bytes(payload)) for _, code, payload in letters_of()] == [
        ("not_json", b"no gzip")
    ]


def test_overlands_trip_visit_and_envelopes_device_are_kept(
    client: httpx.Client, rows_of: RowsOf
) -> None:
    visit = feature(action="visit", arrival_date="2015-10-01T07:00:00-0700", device_id="")
    trip = {"distance": 120, "mode": "walk"}
    client.post("/overland", json={"locations": [visit], "device_id": "watch", "trip": trip})
    assert rows_of("os.events.system.raw", "device_id, event_type") == [("watch", "visit")]
    kept = rows_of("device.metadata.raw", "device_id, metadata_type, metadata")
    assert kept == [("watch", "overland_trip", trip)]


def test_overlands_url_template_works_without_a_body(client: httpx.Client, rows_of: RowsOf) -> None:
    query = f"ts={STAMP}&lat=1.5&lon=2.5&acc=5&spd=3.5&bat=0.5&alt=100&device_id=p"
    assert client.get(f"/overland?{query}").json() == {"result": "ok"}
    assert rows_of(GPS, FIX) == [(NEW_YEAR, "p", 1.5, 2.5, 100, 5, None, 3.5)]


PROFILE = {
    "_type": "location",
    "lat": 51.5,
    "lon": -0.1,
    "tst": STAMP,
    "time": "2024-01-01T00:00:00.250Z",
    "timeoffset": "2024-01-01T01:00:00.250+01:00",
    "acc": 5.0,
    "alt": 30.5,
    "vel": 18.0,
    "cog": 270.0,
    "batt": 77.0,
    "ischarging": "false",
    "desc": "caf%C3%A9+one",
}
CSV = (
    "time,lat,lon,elevation,accuracy,bearing,speed,satellites,provider,hdop,vdop,pdop,geoidheight,"
    "ageofdgpsdata,dgpsid,activity,battery,annotation,timestamp_ms,time_offset,distance,"
    "starttimestamp_ms,profile_name,battery_charging\n"
    "2024-01-01T00:00:00.250Z,51.5,-0.1,30.5,5.0,270.0,5.0,9,gps,0.9,,,,,,,77,,1704067200250,"
    "2024-01-01T01:00:00.250+01:00,0,1704067200000,Default,false\n"
    "2024-01-01T00:00:10.250Z,51.6,-0.1,,,,,,gps,,,,,,,,,,1704067210250,"
    "2024-01-01T01:00:10.250+01:00,0,1704067200000,Default,false\n"
)


def test_gpsloggers_profile_and_the_file_of_the_same_day_are_the_same_rows(
    client: httpx.Client, rows_of: RowsOf
) -> None:
    assert client.post("/gpslogger?device_id=g", json=PROFILE).text == "OK"
    upload = client.post("/gpslogger?device_id=g", files={"file": ("day.csv", CSV)})
    raw = client.post(
        "/gpslogger?device_id=g",
        content=CSV.encode(),
        headers={"Content-Type": "application/octet-stream"},
    )
    assert [upload.status_code, raw.status_code] == [200, 200]
    fixes = rows_of(GPS, "ts, latitude, altitude_m, heading_deg, speed_m_s, tz_offset_min")
    first = NEW_YEAR.replace(microsecond=250_000)
    assert fixes == [
        (first, 51.5, 30.5, 270, 5.0, 60),
        (first.replace(second=10), 51.6, None, None, None, 60),
    ]
    assert rows_of(POWER, "battery_level, is_charging") == [(77, False)]
    assert rows_of(GPS, "extra->>'description'")[0] == ("café one",)


def test_gpslogger_takes_its_template_as_a_query_and_gpx(
    client: httpx.Client, rows_of: RowsOf
) -> None:
    query = {"lat": "1", "lon": "2", "timestamp": str(STAMP), "spd": "2.5", "dir": "10", "acc": ""}
    assert client.get("/gpslogger", params={**query, "device": "g"}).status_code == 200
    gpx = (
        '<?xml version="1.0"?><gpx xmlns="http://www.topografix.com/GPX/1/0"><trk><trkseg>'
        '<trkpt lat="3" lon="4"><ele>7.5</ele><time>2024-01-01T00:00:05.000Z</time>'
        "<course>20</course><speed>1.25</speed><sat>8</sat></trkpt></trkseg></trk></gpx>"
    )
    assert client.put("/gpslogger?device=g", content=gpx.encode()).status_code == 200
    assert rows_of(GPS, FIX) == [
        (NEW_YEAR, "g", 1, 2, None, None, 10, 2.5),
        (NEW_YEAR.replace(second=5), "g", 3, 4, 7.5, None, 20, 1.25),
    ]


def test_a_gpx_bomb_is_a_dead_letter(client: httpx.Client, letters_of: Letters) -> None:
    bomb = b'<?xml version="1.0"?><!DOCTYPE g [<!ENTITY a "aa">]><gpx>&a;</gpx>'
    assert client.post("/gpslogger", content=bomb).status_code == 200
    assert [bytes(payload) for _, _, payload in letters_of()] == [bomb]


def test_traccars_query_is_in_knots_and_its_reply_is_empty(
    client: httpx.Client, rows_of: RowsOf
) -> None:
    query = {
        "id": "123456",
        "timestamp": str(STAMP),
        "lat": "60.0",
        "lon": "30.0",
        "speed": "10.0",
        "bearing": "45.0",
        "altitude": "7",
        "accuracy": "5",
        "batt": "87",
        "charge": "true",
    }
    answers = [
        client.get("/traccar", params=query),
        client.post("/traccar", params=query),
        client.post("/traccar", data=query),
    ]
    assert {(answer.status_code, answer.content) for answer in answers} == {(200, b"")}
    ((when, device, *place, knots),) = rows_of(GPS, FIX)
    assert (when, device, place) == (NEW_YEAR, "123456", [60, 30, 7, 5, 45])
    assert knots == pytest.approx(5.1444, abs=1e-4)
    assert rows_of(GPS, "extra->>'speed'") == [("10.0",)]
    assert rows_of(POWER, "battery_level, is_charging") == [(87, True)]


def test_fields_that_come_twice_or_in_another_encoding_are_kept_whole(
    client: httpx.Client, rows_of: RowsOf
) -> None:
    form = f"id=car&lat=60&lat=60&lon=30&timestamp={STAMP}&cell=1,2&cell=3,4&note=caf%E9".encode()
    for door in ("/traccar", "/gpslogger"):
        assert client.post(door, content=form).status_code == 200
        assert client.get(f"{door}?{form.decode()}").status_code == 200
    told = rows_of(GPS, "latitude, extra->>'cell', extra->>'note'")
    assert told == 2 * [(60, "1,2;3,4", "café")]


@pytest.mark.parametrize("door", ["/traccar", "/gpslogger", "/ulogger", "/opengts", "/colota"])
def test_bytes_that_are_neither_form_nor_json_are_kept_as_they_came(
    door: str, client: httpx.Client, letters_of: Letters
) -> None:
    assert client.post(door, content=b"\xff\xfe\x00 no form").status_code == 200
    assert [(at, bytes(payload)) for at, _, payload in letters_of()] == [
        (door, b"\xff\xfe\x00 no form")
    ]


def test_whoever_asks_traccars_address_for_an_answer_writes_nothing(
    client: httpx.Client, letters_of: Letters, rows_of: RowsOf
) -> None:
    assert (client.get("/traccar").status_code, client.post("/traccar").status_code) == (200, 200)
    assert (letters_of(), rows_of("device.metadata.raw", "ts")) == ([], [])


@pytest.mark.parametrize(
    "stamp", [str(STAMP), f"{STAMP}000", "2024-01-01T00:00:00Z", "2024-01-01 00:00:00"]
)
def test_traccars_times_are_utc_however_they_are_written(
    stamp: str, client: httpx.Client, rows_of: RowsOf
) -> None:
    client.post(
        "/sensor/gps",  # from now on the device is known to be five hours ahead
        json={
            "device_id": "t",
            "recorded_at": "2023-01-01T05:00:00+05:00",
            "latitude": 0,
            "longitude": 0,
        },
    )
    client.get("/traccar", params={"id": "t", "timestamp": stamp, "location": "60.0,30.0"})
    assert rows_of(GPS, "ts, latitude, longitude")[1:] == [(NEW_YEAR, 60, 30)]


def test_traccars_new_client_speaks_metres_a_second_and_minus_one_is_unknown(
    client: httpx.Client, rows_of: RowsOf
) -> None:
    message = {
        "device_id": "658765",
        "location": {
            "timestamp": "2024-01-01T00:00:00.579Z",
            "coords": {
                "latitude": 37.785834,
                "longitude": -122.406417,
                "accuracy": 5,
                "speed": 10,
                "heading": -1,
                "altitude": 3,
            },
            "is_moving": False,
            "event": "motionchange",
            "battery": {"level": 0.5, "is_charging": False},
            "extras": {},
        },
    }
    assert client.post("/traccar", json=message).content == b""
    when = NEW_YEAR.replace(microsecond=579_000)
    assert rows_of(GPS, FIX) == [(when, "658765", 37.785834, -122.406417, 3, 5, None, 10)]
    assert rows_of(GPS, "extra->'coords'->>'heading', extra->>'event'") == [("-1", "motionchange")]
    assert rows_of(POWER, "battery_level, is_charging") == [(50, False)]
    flat = {"device_id": "f", "location": {"latitude": 1, "longitude": 2, "timestamp": STAMP}}
    client.post("/traccar", json=flat)
    assert len(rows_of(GPS, "ts")) == 2


def test_a_traccar_fix_without_a_time_is_as_new_as_it_came_and_says_so(
    client: httpx.Client, rows_of: RowsOf
) -> None:
    client.get("/traccar", params={"id": "t", "lat": "1", "lon": "2"})
    ((seconds, mark),) = rows_of(
        GPS, "extract(epoch from received_at - ts)::float, extra->>'is_time_of_arrival'"
    )
    assert (abs(seconds) < 60, mark) == (True, "true")


def test_phonetrack_takes_one_point_or_many_with_the_token_in_the_middle_of_the_path(
    base_url: str, token_for: Callable[..., str], user: str, rows_of: RowsOf
) -> None:
    token = token_for(user)
    done = {"done": 1, "friends": []}
    base = f"{base_url}/phonetrack/index.php/apps/phonetrack"
    query = {"lat": "1", "lon": "2", "timestamp": str(STAMP), "speed": "3", "bearing": "9"}
    assert httpx.get(f"{base}/logGet/{token}/nexus", params=query).json() == done
    points = [[3, 4, STAMP + 1, 50, 6, 80, 9, "PhoneTrack", 2.5, 90], [5, 6, STAMP + 2, "", "", ""]]
    many = httpx.post(f"{base}/logPostMultiple/{token}/nexus", json={"points": points})
    assert many.json() == done
    assert rows_of(GPS, "device_id, latitude, altitude_m, accuracy_m, heading_deg, speed_m_s") == [
        ("nexus", 1, None, None, 9, 3),
        ("nexus", 3, 50, 6, 90, 2.5),
        ("nexus", 5, None, None, None, None),
    ]


def test_ulogger_logs_in_names_a_track_and_sends_positions(
    base_url: str, token_for: Callable[..., str], user: str, rows_of: RowsOf
) -> None:
    url = f"{base_url}/ulogger/{token_for(user)}/client/index.php"
    login = {"action": "auth", "user": "ada", "pass": "secret"}
    assert httpx.post(url, data=login).json() == {"error": False}
    track = httpx.post(url, data={"action": "addtrack", "track": "morning"})
    assert track.json() == {"error": False, "trackid": 1}
    position = {
        "action": "addpos",
        "lat": "1",
        "lon": "2",
        "time": str(STAMP),
        "altitude": "5.5",
        "speed": "2",
        "accuracy": "7",
        "trackid": "1",
    }
    assert httpx.post(url, data=position).json() == {"error": False}
    assert rows_of(GPS, FIX) == [(NEW_YEAR, "ulogger", 1, 2, 5.5, 7, None, 2)]
    kept = rows_of("device.metadata.raw", "metadata_type, metadata->>'track', extra->>'pass'")
    assert kept == [("ulogger_track", "morning", None)]


def test_opengts_reads_degrees_and_minutes_knots_and_the_hemisphere(
    client: httpx.Client, rows_of: RowsOf, letters_of: Letters
) -> None:
    sentence = "$GPRMC,083559.00,A,4717.112671,N,00833.914843,W,10.0,77.52,010124,,,A*57"
    answer = client.get("/opengts", params={"id": "gts", "gprmc": sentence, "alt": "400"})
    assert (answer.status_code, answer.text) == (200, "OK")
    ((when, device, lat, lon, alt, _, heading, speed),) = rows_of(GPS, FIX)
    assert (when, device) == (datetime(2024, 1, 1, 8, 35, 59, tzinfo=UTC), "gts")
    assert (lat, lon) == (pytest.approx(47.2852112), pytest.approx(-8.5652474))
    assert (alt, heading, speed) == (400, 77.52, pytest.approx(5.1444, abs=1e-4))
    lost = sentence.replace(",A,4717", ",V,4717")
    assert client.get("/opengts", params={"id": "gts", "gprmc": lost}).text == "OK"
    assert [code for _, code, _ in letters_of()] == ["bad_value"]


def test_colotas_speed_is_in_metres_a_second_in_its_own_and_in_owntracks_format(
    client: httpx.Client, rows_of: RowsOf
) -> None:
    point = {"lat": 48.1, "lon": 11.5, "acc": 12, "alt": 519, "vel": 10, "batt": 85, "bs": 2}
    own = {**point, "tst": STAMP, "bear": 180.5, "device_id": "fairphone"}
    assert client.post("/colota", json=own).status_code == 200
    agent = {"User-Agent": "Colota/1.8", "X-Limit-D": "fairphone"}
    template = {**point, "_type": "location", "tst": STAMP + 1, "cog": 180}
    client.post("/owntracks/pub", json=template, headers=agent)
    columns = "device_id, speed_m_s, heading_deg, altitude_m"
    assert rows_of(GPS, columns) == [("fairphone", 10, 180.5, 519), ("fairphone", 10, 180, 519)]
    assert rows_of(POWER, "battery_level, is_charging") == [(85, True), (85, True)]


def test_colotas_static_fields_that_stand_for_numbers_in_text_are_read(
    client: httpx.Client, rows_of: RowsOf
) -> None:
    sent = {"lat": "48.1", "lon": "11.5", "tst": str(STAMP), "vel": "", "car": "yes"}
    client.post("/colota", content=json.dumps(sent).encode())
    assert rows_of(GPS, "ts, latitude, speed_m_s, extra->>'car'") == [(NEW_YEAR, 48.1, None, "yes")]


def test_a_token_in_the_query_lets_in_and_is_kept_nowhere(
    base_url: str, token_for: Callable[..., str], user: str, rows_of: RowsOf
) -> None:
    token = token_for(user)
    query = {"id": "car", "lat": "1", "lon": "2", "timestamp": "1704067200", "token": token}
    assert httpx.get(f"{base_url}/traccar", params=query).status_code == 200
    assert rows_of("device.sensor.gps.raw", "device_id, extra ? 'token'") == [("car", False)]
    assert httpx.get(f"{base_url}/traccar", params={**query, "token": "am_no"}).status_code == 401
    twice = {**query, "timestamp": "1704067201", "token": ["other", token]}
    assert httpx.get(f"{base_url}/traccar", params=twice).status_code == 200
    assert rows_of(GPS, "device_id, extra ? 'token'") == [("car", False), ("car", False)]
