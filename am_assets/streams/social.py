"""What the owner liked elsewhere, and what was behind it."""

from datetime import timedelta
from typing import Any

from pydantic import Field

from am_assets.streams.embedded import EmbeddedText
from am_assets.streams.image import EXAMPLE_PNG, PICTURE_ALIASES, PICTURE_BLOB, Picture
from am_assets.streams.stream import Row, Stream

YEAR = timedelta(days=365)
HACKERNEWS = "hackernews_processing"


class LikedPost(Row):
    """A post that the owner liked."""

    tweet_id: str = Field(min_length=1, description="The post's id.")
    url: str = Field(min_length=1, description="Its address.")
    text: str | None = Field(default=None, description="What it says.")
    author: str | None = Field(default=None, description="Who wrote it.")
    profile_link: str | None = Field(default=None, description="The author's page.")
    source: str | None = Field(default=None, description="Where the like was found.")
    type: str | None = Field(default=None, description="As the fetcher names it.")
    metrics: dict[str, Any] | None = Field(
        default=None, description="As sent: likes, retweets, replies."
    )


class PostPicture(Picture):
    """A picture of a whole post, as a browser shows it."""

    tweet_id: str | None = Field(default=None, description="The post's id.")
    tweet_url: str | None = Field(default=None, description="Its address.")


class Story(Row):
    """A story on Hacker News."""

    story_id: int = Field(gt=0, description="The item's id.")


class LikedStory(Story):
    """A story on Hacker News that the owner liked or saved."""

    title: str = Field(min_length=1, description="Its headline.")
    url: str | None = Field(default=None, description="What it links to; null = text only.")
    text: str | None = Field(default=None, description="Its own text, as HTML.")
    score: int | None = Field(default=None, description="Points when it was fetched.")
    by: str | None = Field(default=None, description="Who posted it.")
    comments_count: int | None = Field(default=None, ge=0, description="When it was fetched.")
    kids: list[int] | None = Field(default=None, description="Ids of its first comments.")
    type: str | None = Field(default=None, description="story, ask, job, poll.")


class StoryContent(Story):
    """What a liked story links to, and what people said of it."""

    url: str | None = Field(default=None, description="Where the text was fetched.")
    title: str | None = Field(default=None, description="Of the page itself.")
    text: str = Field(min_length=1, description="The article, without the page round it.")
    comments: list[dict[str, Any]] | None = Field(
        default=None, description="id, by, text, parent of each comment."
    )


TWITTER_LIKED = Stream(
    name="external.twitter.liked.raw",
    row=LikedPost,
    summary="Posts on X that the owner liked.",
    identity=("tweet_id",),
    is_resent_with_new_time=True,
    kind="like",
    title="Liked: {author}",
    body="{text}",
    example={
        "tweet_id": "1764012345678901234",
        "url": "https://x.com/jane/status/1764012345678901234",
        "text": "The crumb on this one!",
        "author": "jane",
        "profile_link": "https://x.com/jane",
        "source": "likes_page",
        "type": "tweet",
        "metrics": {"likes": 12, "retweets": 1, "replies": 0},
    },
    sent_by="likes fetcher",
    keep_hot=YEAR,
)

TWITTER_IMAGES = Stream(
    name="external.twitter.images.raw",
    row=PostPicture,
    summary="Pictures of liked posts, as a browser shows them.",
    identity=("blob_sha256",),
    is_resent_with_new_time=True,
    kind="like",
    title="Picture of a post, {width_px} × {height_px}",
    is_detail=True,
    example={"image_data": EXAMPLE_PNG, "format": "png", "tweet_id": "1764012345678901234"},
    blob=PICTURE_BLOB,
    aliases=PICTURE_ALIASES,
    sent_by="likes fetcher",
    keep_hot=YEAR,
)

HACKERNEWS_LIKED = Stream(
    name="external.hackernews.liked",
    row=LikedStory,
    summary="Stories on Hacker News that the owner liked.",
    identity=("story_id",),
    is_resent_with_new_time=True,
    kind="like",
    title="{title}",
    body="{url}",
    example={
        "id": 39563102,
        "title": "A field guide to sourdough",
        "url": "https://example.org/sourdough",
        "score": 211,
        "by": "baker",
        "descendants": 87,
        "type": "story",
    },
    aliases={"id": "story_id", "descendants": "comments_count"},
    sent_by="Hacker News fetcher",
    keep_hot=YEAR,
)

HACKERNEWS_CONTENT = Stream(
    name="external.hackernews.content_fetched",
    row=StoryContent,
    summary="The articles behind liked stories, with comments.",
    identity=("story_id",),
    is_derived=True,
    planned=HACKERNEWS,
    kind="article",
    title="{title}",
    body="{text}",
    keep_hot=YEAR,
)

HACKERNEWS_EMBEDDED = Stream(
    name="external.hackernews.embedded",
    row=EmbeddedText,
    summary="Which articles can be found by meaning.",
    identity=("text_length",),
    is_derived=True,
    planned=HACKERNEWS,
    is_detail=True,
    kind="embedding",
    title="{chunk_count} moments",
    keep_hot=YEAR,
)

STREAMS = (
    TWITTER_LIKED,
    TWITTER_IMAGES,
    HACKERNEWS_LIKED,
    HACKERNEWS_CONTENT,
    HACKERNEWS_EMBEDDED,
)
