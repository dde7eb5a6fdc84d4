"""What can be concluded from several streams together."""

from datetime import timedelta
from typing import Any

from pydantic import AwareDatetime, Field

from am_assets.streams.stream import Row, Sensitivity, Stream

FLOW = "context_inference"
HALF_A_YEAR = timedelta(days=180)


class InferredContext(Row):
    """What a stretch of time was about, as a language model concludes it from rows."""

    context_type: str = Field(
        description="conversation, activity, location, emotion, focus, productivity, …"
    )
    end_ts: AwareDatetime = Field(description="End of the stretch.")
    input_sources: list[dict[str, Any]] = Field(description="stream, event_id of each row read.")
    inferred_context: dict[str, Any] = Field(description="What is concluded, by topic.")
    summary: str | None = Field(default=None, description="In a few sentences.")
    reasoning: str | None = Field(default=None, description="Why, as the model says.")
    recommendations: list[str] | None = Field(default=None, description="What it would do.")


class Anomaly(Row):
    """A time that is unlike others."""

    end_ts: AwareDatetime = Field(description="End of the stretch.")
    score: float = Field(ge=0, le=1, description="0 = as always.")
    streams_affected: list[str] = Field(description="Names of the streams.")
    explanation: dict[str, Any] | None = Field(default=None, description="Parts of the score.")


QWEN_RESULTS = Stream(
    name="analysis.inferred_context.qwen_results",
    row=InferredContext,
    summary="What a multimodal model concludes from samples of sound and pictures.",
    identity=("context_type",),
    is_derived=True,
    planned=FLOW,
    kind="context",
    title="{summary}",
    body="{reasoning}",
    keep_hot=HALF_A_YEAR,
    sensitivity=Sensitivity.SECRET,
)

MISTRAL_RESULTS = Stream(
    name="analysis.inferred_context.mistral_results",
    row=InferredContext,
    summary="What a language model concludes from rows of many streams.",
    identity=("context_type",),
    is_derived=True,
    planned=FLOW,
    kind="context",
    title="{summary}",
    body="{reasoning}",
    keep_hot=HALF_A_YEAR,
    sensitivity=Sensitivity.SECRET,
)

ANOMALIES = Stream(
    name="analysis.anomaly.scores",
    row=Anomaly,
    summary="Times that are unlike others.",
    identity=("score",),
    is_derived=True,
    planned="anomaly_detection",
    is_detail=True,
    kind="anomaly",
    title="Unlike other times: {score}",
)

STREAMS = (QWEN_RESULTS, MISTRAL_RESULTS, ANOMALIES)
