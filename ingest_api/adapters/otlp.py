"""OpenTelemetry metrics over HTTP (`/v1/metrics`), in JSON or protobuf: a reading a point."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from google.protobuf.json_format import MessageToDict, Parse, ParseError
from google.protobuf.message import DecodeError, Message
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.metrics.v1.metrics_pb2 import Metric, ResourceMetrics

from ingest_api.adapters.adapter import (
    Adapter,
    AppRequest,
    Door,
    Event,
    Item,
    Landed,
    Reply,
    Setting,
    json_reply,
)
from ingest_api.adapters.influx import instant
from ingest_api.adapters.position import given
from ingest_api.adapters.readings import GENERIC, reading
from ingest_api.errors import MalformedBodyError

JSON = "application/json"
PROTOBUF = "application/x-protobuf"
DEVICE_ATTRIBUTES = ("device.id", "host.name", "service.instance.id", "service.name")
NO_VALUE = 1  # the flag of a point that says: nothing was recorded


def read(request: AppRequest) -> list[Item]:
    """All points of all metrics.

    Raises: MalformedBodyError.
    """
    message = ExportMetricsServiceRequest()
    try:
        if request.media_type == JSON:
            Parse(request.body.decode(), message, ignore_unknown_fields=True)
        else:
            message.ParseFromString(request.body)
    except (ParseError, DecodeError, UnicodeDecodeError) as error:
        raise MalformedBodyError(f"the body is no OTLP metrics request: {error}") from error
    return [
        event for resource in message.resource_metrics for event in _resource(resource, request)
    ]


def reply(request: AppRequest, _landed: Landed) -> Reply:
    """An empty response, in the format of the request: all was taken."""
    return json_reply({}) if request.media_type == JSON else Reply(media_type=PROTOBUF)


def _resource(resource: ResourceMetrics, request: AppRequest) -> Iterator[Event]:
    about = _attributes(resource.resource.attributes)
    for scope in resource.scope_metrics:
        for metric in scope.metrics:
            yield from _metric(metric, about, request)


def _metric(metric: Metric, about: Mapping[str, Any], request: AppRequest) -> Iterator[Event]:
    kind = metric.WhichOneof("data")
    if kind is None:
        return
    device_id = given(about, *DEVICE_ATTRIBUTES)
    for point in getattr(metric, kind).data_points:
        stamp = point.time_unix_nano
        when = instant(stamp) if stamp else request.received_at.isoformat()
        yield reading(
            metric.name,
            _number(point),
            of={"device_id": str(device_id) if device_id else None, "recorded_at": when},
            unit=metric.unit or None,
            readings={"kind": kind, "attributes": _attributes(point.attributes), **_parts(point)},
            sent={"resource": dict(about), "is_time_of_arrival": None if stamp else True},
        )


def _number(point: Any) -> float | int | None:
    """The value of a gauge or a sum; None for a distribution, or where nothing was recorded."""
    name = None if point.flags & NO_VALUE else _oneof(point)
    return None if name is None else getattr(point, name)


def _oneof(point: Message) -> str | None:
    has_value = "value" in point.DESCRIPTOR.oneofs_by_name
    return point.WhichOneof("value") if has_value else None


def _parts(point: Message) -> dict[str, Any]:
    """All else that a point says: count, sum, buckets, quantiles, when counting began."""
    told = MessageToDict(point, preserving_proto_field_name=True)
    left_out = ("attributes", "time_unix_nano", "as_double", "as_int")
    return {name: part for name, part in told.items() if name not in left_out}


def _attributes(pairs: Sequence[KeyValue]) -> dict[str, Any]:
    return {pair.key: _any(pair.value) for pair in pairs}


def _any(value: AnyValue) -> Any:
    kind = value.WhichOneof("value")
    match kind:
        case None:
            return None
        case "array_value":
            return [_any(part) for part in value.array_value.values]
        case "kvlist_value":
            return _attributes(value.kvlist_value.values)
        case _:
            plain = getattr(value, kind)
            return plain.hex() if isinstance(plain, bytes) else plain


def _settings(door: Door) -> list[Setting]:
    return [
        Setting(name="OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", value=f"{door.base}/v1/metrics"),
        Setting(
            name="OTEL_EXPORTER_OTLP_METRICS_HEADERS", value=f"authorization=Bearer {door.token}"
        ),
        Setting(name="OTEL_EXPORTER_OTLP_METRICS_PROTOCOL", value="http/protobuf"),
    ]


ADAPTER = Adapter(
    name="otlp",
    app="OpenTelemetry exporters (metrics)",
    systems="any",
    streams=(GENERIC,),
    read=read,
    reply=reply,
    settings=_settings,
    roots=("/v1/metrics",),
)
