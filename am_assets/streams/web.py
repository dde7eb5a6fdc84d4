"""What is looked at in browsers."""

from pydantic import Field

from am_assets.streams.stream import Door, Row, Sensitivity, Stream


class PageUse(Row):
    """How one page was used."""

    url: str = Field(min_length=1, description="The page's address, as sent.")
    page_title: str | None = Field(default=None, description="Of its window or tab.")
    domain: str = Field(min_length=1, description="The site, as the client names it.")
    time_spent_s: float | None = Field(default=None, ge=0, description="In front.")
    scroll_depth_percent: float | None = Field(
        default=None, ge=0, le=100, description="How far down it was read."
    )
    clicks_count: int | None = Field(default=None, ge=0, description="Clicks on it.")
    referrer: str | None = Field(default=None, description="The page before.")


class Visit(Row):
    """One visit of a page, as the browser's history or an extension tells it."""

    url: str = Field(min_length=1, description="The page's address, as sent.")
    title: str | None = Field(default=None, description="Of the page.")
    visit_duration_s: float | None = Field(default=None, ge=0, description="In front.")
    referrer: str | None = Field(default=None, description="The page before.")
    browser: str | None = Field(default=None, description="firefox, chrome, …")
    tab_count: int | None = Field(default=None, ge=0, description="Tabs that were open.")
    is_incognito: bool | None = Field(default=None, description="Whether in a private window.")


WEB_ANALYTICS = Stream(
    name="digital.web_analytics.raw",
    row=PageUse,
    summary="How long and how far pages were read.",
    identity=("url", "page_title", "time_spent_s"),
    kind="web page",
    title="{page_title}",
    body="{url}",
    example={
        "url": "https://en.wikipedia.org/wiki/Sourdough",
        "page_title": "Sourdough",
        "domain": "en.wikipedia.org",
        "time_spent_seconds": 95,
        "scroll_depth_percentage": 60,
        "clicks_count": 2,
        "referrer": "https://duckduckgo.com/",
    },
    doors=(Door(path="/digital/web-analytics"),),
    aliases={
        "time_spent_seconds": "time_spent_s",
        "scroll_depth_percentage": "scroll_depth_percent",
    },
    sent_by="browser extension",
    sensitivity=Sensitivity.SECRET,
)

WEB_VISITS = Stream(
    name="external.web.visits.raw",
    row=Visit,
    summary="Pages visited, from browser histories and extensions.",
    identity=("url", "browser"),
    kind="web visit",
    title="{title}",
    body="{url}",
    example={
        "url": "https://en.wikipedia.org/wiki/Sourdough",
        "title": "Sourdough",
        "visit_duration": 95.0,
        "browser": "firefox",
        "tab_count": 7,
        "is_incognito": False,
    },
    aliases={
        "visit_duration": "visit_duration_s",
        "tabCount": "tab_count",
        "incognito": "is_incognito",
    },
    sent_by="history import, browser extension",
    grows="visit_duration_s",
    sensitivity=Sensitivity.SECRET,
)

STREAMS = (WEB_ANALYTICS, WEB_VISITS)
