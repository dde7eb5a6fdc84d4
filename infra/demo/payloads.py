"""A stream's own fields, named as the clients of its REST path name them."""

from base64 import b64encode
from datetime import timedelta
from typing import Any

from infra.demo.media import Acceleration, Clip, Fix, Picture

Fields = dict[str, Any]


def audio(clip: Clip, *, file_id: str) -> Fields:
    """A chunk of sound."""
    return {
        "data": b64encode(clip.wav).decode(),
        "sample_rate": clip.sample_rate_hz,
        "channels": clip.channels,
        "format": "wav",
        "duration_ms": round(clip.duration / timedelta(milliseconds=1)),
        "file_id": file_id,
    }


def image(picture: Picture, *, camera_type: str, metadata: Fields) -> Fields:
    """A photo or a screenshot (`camera_type` "screen")."""
    return {
        "image_data": b64encode(picture.data).decode(),
        "format": picture.format,
        "width": picture.width_px,
        "height": picture.height_px,
        "camera_type": camera_type,
        "file_size": len(picture.data),
        "metadata": metadata,
    }


def recorded_fix(fix: Fix) -> Fields:
    """A fix of a logger that kept no accuracy, speed or heading: none is made up."""
    return {"latitude": fix.latitude, "longitude": fix.longitude, "altitude": fix.altitude_m}


def fix(latitude: float, longitude: float, *, accuracy_m: float, speed_m_s: float) -> Fields:
    """A fix of a phone; no heading, for none is known at rest."""
    return {
        "latitude": round(latitude, 6),
        "longitude": round(longitude, 6),
        "accuracy": round(accuracy_m, 1),
        "speed": round(speed_m_s, 1),
    }


def acceleration(sample: Acceleration) -> Fields:
    """A sample in m/s²."""
    return {"x": sample.x, "y": sample.y, "z": sample.z}


def heart_rate(bpm: int, *, confidence: float | None = None) -> Fields:
    """A reading; a recording that kept no confidence has none."""
    return {"bpm": bpm} if confidence is None else {"bpm": bpm, "confidence": confidence}


def power(level_percent: float, *, is_charging: bool, lid_closed: bool | None = None) -> Fields:
    """A battery; only a laptop has a lid."""
    fields: Fields = {
        "battery_level": level_percent,
        "is_charging": is_charging,
        "power_source": "ac" if is_charging else "battery",
        "thermal_state": "nominal",
    }
    return fields if lid_closed is None else {**fields, "lid_closed": lid_closed}


def app(identifier: str, name: str, event_type: str, *, duration_s: int | None = None) -> Fields:
    """An app that came or went; a duration only of a phase that ended."""
    fields: Fields = {
        "app_identifier": identifier,
        "app_name": name,
        "event_type": event_type,
        "metadata": {},
    }
    return fields if duration_s is None else {**fields, "duration_seconds": duration_s}


def clipboard(text: str, *, source_app: str) -> Fields:
    """Something copied: text, or an address."""
    kind = "url" if text.startswith("https://") else "text"
    return {"content_type": kind, "content_text": text, "source_app": source_app}


def note(title: str, content: str, *, tags: list[str]) -> Fields:
    """A note in English."""
    return {
        "title": title,
        "content": content,
        "note_type": "text",
        "tags": tags,
        "word_count": len(content.split()),
        "language": "en",
    }
