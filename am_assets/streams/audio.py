"""What microphones hear: chunks of sound as devices send them, and the speech found in them."""

from datetime import timedelta

from pydantic import Field

from am_assets.streams.stream import Blob, Door, Media, Row, Sensitivity, Stream

# 2 ms of a ramp, so that the example of the catalogue is a real recording.
EXAMPLE_WAV = (
    "UklGRmQAAABXQVZFZm10IBAAAAABAAEAgD4AAAB9AAACABAAZGF0YUAAAAAAAJABIAOwBEAG0AdgCfAKgAwQ"
    "DqAPMBHAElAU4BVwFwAZkBogHLAdQB/QIGAi8COAJRAnoCgwKsArUC3gLnAw"
)


class AudioChunk(Row):
    """One stretch of sound; its facts are measured from the bytes, not taken from the client."""

    sample_rate_hz: int = Field(gt=0, description="Samples a second and channel.")
    channels: int = Field(gt=0, description="Interleaved channels.")
    duration_ms: int = Field(ge=0, description="Length of the sound in the blob.")
    file_id: str | None = Field(default=None, description="The client's name for the recording.")
    chunk_number: int | None = Field(
        default=None, ge=0, description="Within that recording, as the client counts."
    )


class SpeechSegment(Row):
    """One stretch of an audio chunk in which somebody speaks."""

    start_ms: int = Field(ge=0, description="From the beginning of the source chunk.")
    end_ms: int = Field(ge=0, description="From the beginning of the source chunk.")
    duration_ms: int = Field(ge=0, description="Length of the stretch.")


class SoundScene(Row):
    """What a stretch of sound tells of the surroundings."""

    scene: str = Field(description="indoor, outdoor, vehicle, crowd or quiet.")
    scores: dict[str, float] = Field(description="0 to 1 by scene.")
    duration_ms: int = Field(gt=0, description="Length of the stretch.")


class VoiceEmotion(Row):
    """What a voice seems to feel in one stretch of speech."""

    primary_emotion: str = Field(min_length=1, description="The strongest.")
    emotion_scores: dict[str, float] = Field(description="0 to 1 by emotion.")
    valence: float | None = Field(default=None, ge=-1, le=1, description="-1 = sad, 1 = glad.")
    arousal: float | None = Field(default=None, ge=-1, le=1, description="-1 = calm, 1 = stirred.")
    duration_ms: int = Field(gt=0, description="Length of the stretch.")


AUDIO = Stream(
    name="device.audio.raw",
    row=AudioChunk,
    summary="Sound as recorded, in chunks of a few seconds.",
    identity=("blob_sha256",),
    is_resent_with_new_time=True,
    kind="audio",
    title="{duration_ms} ms of sound",
    example={"data": EXAMPLE_WAV, "format": "wav"},
    blob=Blob(
        field="data",
        aliases=("chunk_data", "audio_data"),
        media=Media.AUDIO,
        facts=("sample_rate_hz", "channels", "duration_ms"),
        found_in="media.audio.vad_filtered",
        keep_without_finding=timedelta(days=7),
    ),
    doors=(
        Door(path="/audio/upload"),
        Door(path="/audio/stream/{device_id}", protocol="websocket"),
    ),
    aliases={"sample_rate": "sample_rate_hz"},
    chunk_interval=timedelta(days=1),
    compress_after=timedelta(days=1),
    keep_hot=timedelta(days=7),
    sensitivity=Sensitivity.SECRET,
)

SPEECH = Stream(
    name="media.audio.vad_filtered",
    row=SpeechSegment,
    summary="The stretches of a chunk in which there is speech.",
    identity=("start_ms",),
    is_derived=True,
    is_detail=True,
    kind="speech",
    title="{duration_ms} ms of speech",
)

SOUND_SCENE = Stream(
    name="media.audio.environment_classified",
    row=SoundScene,
    summary="What sound tells of the surroundings.",
    identity=("scene",),
    is_derived=True,
    planned="audio_processing",
    is_detail=True,
    kind="sound",
    title="Sounds like: {scene}",
)

VOICE_EMOTION = Stream(
    name="analysis.audio.emotion_results",
    row=VoiceEmotion,
    summary="What voices seem to feel.",
    identity=("primary_emotion",),
    is_derived=True,
    planned="audio_processing",
    is_detail=True,
    kind="emotion",
    title="{primary_emotion}",
    sensitivity=Sensitivity.SECRET,
)

STREAMS = (AUDIO, SPEECH, SOUND_SCENE, VOICE_EMOTION)
