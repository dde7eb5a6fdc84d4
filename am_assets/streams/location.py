"""What positions mean: regions entered and left, addresses, businesses."""

from datetime import timedelta
from typing import Literal

from pydantic import Field

from am_assets.streams.stream import Row, Stream

FLOW = "location_enrichment"


class RegionPresence(Row):
    """A region was entered, left, or is still the one."""

    georegion_id: str = Field(min_length=1, description="The region's id.")
    georegion_name: str = Field(min_length=1, description="What the owner calls it.")
    georegion_type: str | None = Field(default=None, description="home, work, custom.")
    event_type: Literal["enter", "exit", "present"] = Field(description="What happened.")
    latitude: float = Field(ge=-90, le=90, description="WGS 84, of the fix that tells.")
    longitude: float = Field(ge=-180, le=180, description="WGS 84, of the fix that tells.")
    distance_to_center_m: float | None = Field(default=None, ge=0, description="Of that fix.")
    dwell_s: float | None = Field(default=None, ge=0, description="Since it was entered.")


class Address(Row):
    """The address of a position."""

    latitude: float = Field(ge=-90, le=90, description="WGS 84, of the position.")
    longitude: float = Field(ge=-180, le=180, description="WGS 84, of the position.")
    accuracy_m: float | None = Field(default=None, ge=0, description="68 % confidence radius.")
    formatted_address: str = Field(min_length=1, description="As one would write it.")
    street_number: str | None = Field(default=None, description="House.")
    street_name: str | None = Field(default=None, description="Street.")
    city: str | None = Field(default=None, description="Town or village.")
    state: str | None = Field(default=None, description="State or province.")
    country: str | None = Field(default=None, description="ISO 3166-1 alpha-2.")
    postal_code: str | None = Field(default=None, description="Post code.")
    distance_m: float | None = Field(default=None, ge=0, description="From the position to it.")


class Business(Row):
    """A business at which somebody stayed."""

    business_id: str = Field(min_length=1, description="Of the directory it was found in.")
    name: str = Field(min_length=1, description="As the directory has it.")
    category: str | None = Field(default=None, description="café, shop, …")
    latitude: float = Field(ge=-90, le=90, description="WGS 84, of the business.")
    longitude: float = Field(ge=-180, le=180, description="WGS 84, of the business.")
    distance_m: float | None = Field(default=None, ge=0, description="From the position to it.")


GEOREGION = Stream(
    name="location.georegion.detected",
    row=RegionPresence,
    summary="Regions of the owner entered and left.",
    identity=("georegion_id", "event_type"),
    is_derived=True,
    planned=FLOW,
    kind="region",
    title="{georegion_name}: {event_type}",
    chunk_interval=timedelta(hours=1),
    compress_after=timedelta(hours=6),
    keep_hot=timedelta(days=30),
)

GEOCODED = Stream(
    name="location.address.geocoded",
    row=Address,
    summary="Addresses of the places where somebody was.",
    identity=("latitude", "longitude"),
    is_derived=True,
    planned=FLOW,
    is_detail=True,
    kind="address",
    title="{formatted_address}",
)

BUSINESS = Stream(
    name="location.business.identified",
    row=Business,
    summary="Businesses at which somebody stayed.",
    identity=("business_id",),
    is_derived=True,
    planned=FLOW,
    kind="business",
    title="{name}",
    body="{category}",
    keep_hot=timedelta(days=365),
)

STREAMS = (GEOREGION, GEOCODED, BUSINESS)
