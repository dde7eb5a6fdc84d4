"""What models see in pictures and films. The names of models in the streams' names are slots:
each row's `model_id` says which model filled it.
"""

from typing import Any

from pydantic import Field

from am_assets.streams.stream import Row, Sensitivity, Stream

FLOW = "camera_vision_processing"
BOX = "Of the picture: left_px, top_px, right_px, bottom_px."


class PreparedPicture(Row):
    """A picture made ready for models: turned upright, made smaller. `blob_key` is the new one."""

    width_px: int = Field(gt=0, description="After it was turned and made smaller.")
    height_px: int = Field(gt=0, description="After it was turned and made smaller.")
    rotation_deg: int = Field(description="How far it was turned, clockwise.")
    scale: float = Field(gt=0, le=1, description="New size by old size.")
    blur_score: float | None = Field(
        default=None, ge=0, description="Variance of the Laplacian: small = blurred."
    )
    perceptual_hash: str | None = Field(default=None, description="In hexadecimal; like = near.")


class DetectedObject(Row):
    """One thing in one picture."""

    object_class: str = Field(min_length=1, description="What it is, in the model's words.")
    box: dict[str, float] = Field(description=BOX)
    attributes: dict[str, Any] | None = Field(default=None, description="As the model gives them.")


class HashedObject(Row):
    """One thing in one picture, with a hash by which it is found again."""

    object_class: str = Field(min_length=1, description="What it is, in the model's words.")
    box: dict[str, float] = Field(description=BOX)
    perceptual_hash: str = Field(min_length=1, description="In hexadecimal; like = near.")
    same_as: str | None = Field(default=None, description="The first row of the same thing.")


class DetectedFace(Row):
    """One face in one picture."""

    box: dict[str, float] = Field(description=BOX)
    landmarks: dict[str, Any] | None = Field(default=None, description="Points by name, in px.")
    face_px: int = Field(gt=0, description="Shorter side of the box.")


class DetectedPose(Row):
    """One body or hand in one picture."""

    part: str = Field(description="body, left_hand or right_hand.")
    keypoints: list[dict[str, Any]] = Field(description="name, x, y, z, visibility; 0 to 1.")


class DetectedGaze(Row):
    """Where one face looks."""

    box: dict[str, float] = Field(description=BOX)
    direction: list[float] = Field(description="Unit vector: right, down, away from the camera.")
    yaw_deg: float = Field(description="To the right of the camera.")
    pitch_deg: float = Field(description="Above the camera.")


class FaceEmotion(Row):
    """What a face seems to feel."""

    face_id: str = Field(min_length=1, description="The row of the face.")
    emotion: str = Field(min_length=1, description="The strongest.")
    scores: dict[str, float] = Field(description="0 to 1 by emotion.")
    age_estimate_years: float | None = Field(default=None, ge=0, description="As the model thinks.")


class SceneDescription(Row):
    """What a vision-language model says of a picture."""

    description: str | None = Field(default=None, description="In a few sentences.")
    categories: list[str] | None = Field(default=None, description="Kinds of scene.")
    objects: list[dict[str, Any]] | None = Field(
        default=None, description="label, confidence, box of each thing."
    )
    text: str | None = Field(default=None, description="All text in the picture.")
    answer: str | None = Field(default=None, description="To the question that was put.")
    quality: float | None = Field(default=None, ge=0, le=1, description="Of the picture.")


class TrackedObject(Row):
    """One thing that moves through a film."""

    object_class: str = Field(min_length=1, description="What it is, in the model's words.")
    track_id: int = Field(ge=0, description="The same through the film.")
    box: dict[str, float] = Field(description=BOX)
    flow_px_s: list[float] | None = Field(default=None, description="Right and down, a second.")


class Reconstruction(Row):
    """Surroundings in three dimensions, made from pictures. `blob_key` holds the points."""

    point_count: int = Field(gt=0, description="Points of the cloud.")
    picture_count: int = Field(gt=0, description="Pictures it was made from.")
    camera_poses: list[dict[str, Any]] = Field(description="Position and turn of each picture.")


class SlamKeyframe(Row):
    """Where the camera was in a map that it made itself."""

    map_id: str = Field(min_length=1, description="The map; another one has other axes.")
    position: list[float] = Field(description="x, y, z in the map's own scale.")
    orientation: list[float] = Field(description="Unit quaternion w, x, y, z.")
    tracked_point_count: int = Field(ge=0, description="Points that held it.")


def _planned(
    name: str, row: type[Row], summary: str, *, kind: str, title: str, identity: tuple[str, ...]
) -> Stream:
    return Stream(
        name=name,
        row=row,
        summary=summary,
        identity=identity,
        is_derived=True,
        planned="screenshot_ocr" if ".screenshot." in name else FLOW,
        is_detail=True,
        kind=kind,
        title=title,
        sensitivity=Sensitivity.SECRET if ".screenshot." in name else Sensitivity.PRIVATE,
    )


STREAMS = (
    _planned(
        "media.image.camera.preprocessed",
        PreparedPicture,
        "Photos made ready for models.",
        kind="prepared picture",
        title="{width_px} × {height_px}",
        identity=("width_px", "height_px"),
    ),
    _planned(
        "media.image.screenshot.preprocessed",
        PreparedPicture,
        "Screenshots made ready for models.",
        kind="prepared picture",
        title="{width_px} × {height_px}",
        identity=("width_px", "height_px"),
    ),
    _planned(
        "media.image.objects_detected",
        DetectedObject,
        "Things in photos.",
        kind="object",
        title="{object_class}",
        identity=("object_class", "box"),
    ),
    _planned(
        "media.image.objects_hashed",
        HashedObject,
        "Things in photos, with hashes by which they are found again.",
        kind="object",
        title="{object_class}",
        identity=("object_class", "box"),
    ),
    _planned(
        "media.image.faces_detected",
        DetectedFace,
        "Faces in photos.",
        kind="face",
        title="Face, {face_px} px",
        identity=("box",),
    ),
    _planned(
        "media.image.pose_detected",
        DetectedPose,
        "Bodies and hands in photos.",
        kind="pose",
        title="Pose: {part}",
        identity=("part", "keypoints"),
    ),
    _planned(
        "media.image.gaze_detected",
        DetectedGaze,
        "Where faces in photos look.",
        kind="gaze",
        title="Gaze {yaw_deg}°, {pitch_deg}°",
        identity=("box",),
    ),
    _planned(
        "analysis.image.emotion_results",
        FaceEmotion,
        "What faces in photos seem to feel.",
        kind="emotion",
        title="{emotion}",
        identity=("face_id",),
    ),
    _planned(
        "media.image.analysis.moondream_results",
        SceneDescription,
        "What a small vision-language model says of pictures.",
        kind="scene",
        title="{description}",
        identity=("description", "answer"),
    ),
    _planned(
        "media.image.analysis.minicpm_results",
        SceneDescription,
        "What a large vision-language model says of pictures.",
        kind="scene",
        title="{description}",
        identity=("description", "answer"),
    ),
    _planned(
        "media.video.analysis.yolo_results",
        TrackedObject,
        "Things that move through films.",
        kind="object",
        title="{object_class}",
        identity=("track_id", "box"),
    ),
    _planned(
        "analysis.3d_reconstruction.dustr_results",
        Reconstruction,
        "Surroundings in three dimensions.",
        kind="reconstruction",
        title="{point_count} points",
        identity=("point_count",),
    ),
    _planned(
        "spatial.slam.mapping",
        SlamKeyframe,
        "Where the camera was, in maps that it made itself.",
        kind="map",
        title="In map {map_id}",
        identity=("map_id", "position"),
    ),
)
