"""Things to fetch and read: addresses, repositories; and the text that was found behind them."""

from datetime import timedelta
from typing import Annotated, Any

from pydantic import Field

from am_assets.streams.stream import Blob, Door, Media, Row, Sensitivity, Stream

YEAR = timedelta(days=365)
URLS = "url_processing"
DOCUMENTS = "document_processing"

# What several of these rows have. Types and not a base: a base's columns would stand first.
Priority = Annotated[int, Field(ge=1, le=10, description="10 = first.")]
AsSent = Annotated[dict[str, Any] | None, Field(description="As sent.")]
Webhook = Annotated[str | None, Field(description="Whom to tell when it is done.")]
Fetched = Annotated[str, Field(min_length=1, description="What was fetched.")]
Summary = Annotated[str | None, Field(description="In a few sentences.")]


class UrlTask(Row):
    """An address that is to be fetched and kept as text."""

    url: str = Field(min_length=1, description="What to fetch.")
    source_type: str = Field(
        default="general", description="general, twitter, pdf, webpage, github, hackernews."
    )
    priority: Priority = 5
    content_hint: str | None = Field(default=None, description="What the sender expects there.")
    extract_options: AsSent = None
    metadata: AsSent = None
    callback_webhook: Webhook = None


class GithubTask(Row):
    """A repository that is to be kept as one text."""

    url: str = Field(pattern=r"^https://github\.com/", description="The repository's address.")
    repository_type: str | None = Field(default=None, description="As the sender names it.")
    priority: Priority = 5
    include_files: list[str] | None = Field(default=None, description="Patterns to keep.")
    exclude_files: list[str] | None = Field(default=None, description="Patterns to leave out.")
    max_file_bytes: int = Field(default=1_000_000, gt=0, description="Larger files are left out.")
    extract_options: AsSent = None
    callback_webhook: Webhook = None


class DocumentTask(Row):
    """A document that is to be read. Its bytes are the row's blob."""

    filename: str = Field(min_length=1, description="As the sender names it.")
    document_type: str = Field(
        default="general", description="pdf, docx, txt, markdown, html, general."
    )
    content_type: str | None = Field(default=None, description="As the client claims.")
    priority: Priority = 5
    extract_options: AsSent = None
    metadata: AsSent = None
    callback_webhook: Webhook = None


class PageText(Row):
    """The text behind an address."""

    url: Fetched
    domain: str | None = Field(default=None, description="The site.")
    content_type: str | None = Field(default=None, description="As the server says.")
    title: str | None = Field(default=None, description="Of the page.")
    text: str = Field(min_length=1, description="The text, without the page round it.")
    summary: Summary = None
    tags: list[str] | None = Field(default=None, description="What it is about.")


class PostArchive(Row):
    """A post, with all that its page showed."""

    tweet_id: str | None = Field(default=None, description="The post's id.")
    url: str = Field(min_length=1, description="Its address.")
    text: str | None = Field(default=None, description="What it says.")
    links: list[str] | None = Field(default=None, description="Addresses in it.")
    media: list[dict[str, Any]] | None = Field(default=None, description="Pictures and films.")
    metadata: dict[str, Any] | None = Field(default=None, description="author_name, created_at, …")


class StoryArchive(Row):
    """A story of Hacker News, with the page it links to."""

    story_id: int | None = Field(default=None, description="The item's id.")
    url: Fetched
    title: str | None = Field(default=None, description="Its headline.")
    score: int | None = Field(default=None, description="Points when it was fetched.")
    comments_url: str | None = Field(default=None, description="Where people talk about it.")
    content_type: str | None = Field(default=None, description="html or pdf.")
    text: str | None = Field(default=None, description="The article's text.")
    page_count: int | None = Field(default=None, ge=0, description="Of a PDF.")


class PdfText(Row):
    """The text of a PDF behind an address."""

    url: Fetched
    title: str | None = Field(default=None, description="As the file says.")
    text: str = Field(min_length=1, description="All pages in order.")
    summary: Summary = None
    page_count: int = Field(gt=0, description="Pages of the file.")


class DocumentText(Row):
    """The text of a document that was handed in."""

    original_filename: str = Field(min_length=1, description="As it was handed in.")
    document_type: str = Field(description="pdf, docx, txt, markdown, html or general.")
    content_type: str | None = Field(default=None, description="As the bytes tell.")
    text: str = Field(min_length=1, description="All of it in order.")
    summary: Summary = None
    original_bytes: int = Field(ge=0, description="Size of the file.")
    extraction_method: str = Field(description="How the text was got.")
    language: str | None = Field(default=None, description="ISO 639-1, as detected.")
    page_count: int | None = Field(default=None, ge=0, description="Where it has pages.")
    word_count: int = Field(ge=0, description="Words of the text.")


class RepositoryText(Row):
    """A repository as one text."""

    url: str = Field(min_length=1, description="The repository's address.")
    repository_name: str = Field(min_length=1, description="owner/name.")
    text: str = Field(min_length=1, description="All kept files, one after the other.")
    summary: Summary = None
    file_count: int = Field(ge=0, description="Files that were kept.")
    total_bytes: int = Field(ge=0, description="Of those files.")
    files_processed: list[str] = Field(description="Their paths.")
    files_skipped: list[str] = Field(description="Paths of the others.")


URL_TASK = Stream(
    name="task.url.ingest",
    row=UrlTask,
    summary="Addresses to fetch and keep.",
    identity=("url", "source_type"),
    kind="url task",
    title="To fetch: {url}",
    example={"url": "https://example.org/sourdough", "task_type": "webpage", "priority": 5},
    aliases={"task_type": "source_type", "scrape_type": "source_type"},
    sent_by="any client, likes fetcher",
)

GITHUB_TASK = Stream(
    name="task.github.ingest",
    row=GithubTask,
    summary="Repositories to keep as one text.",
    identity=("url",),
    kind="url task",
    title="To fetch: {url}",
    example={
        "url": "https://github.com/simonw/sqlite-utils",
        "repository_type": "repository",
        "include_files": ["*.py", "*.md"],
        "max_file_size": 1_000_000,
    },
    aliases={"max_file_size": "max_file_bytes"},
)

DOCUMENT_TASK = Stream(
    name="task.document.ingest",
    row=DocumentTask,
    summary="Documents to read and keep.",
    identity=("blob_sha256", "filename"),
    kind="document task",
    title="To read: {filename}",
    example={
        "filename": "bread.md",
        "file_data": "IyBCcmVhZAoKQmFrZSBhdCAyMjAgwrBDLgo=",
        "content_type": "text/markdown",
        "file_size": 27,
        "document_type": "markdown",
        "priority": 5,
    },
    blob=Blob(field="file_data", aliases=("data",), media=Media.FILE, facts=()),
    doors=(Door(path="/documents/upload"), Door(path="/documents/batch", many=True)),
    keep_hot=YEAR,
    sensitivity=Sensitivity.SECRET,
)


def _text(
    name: str, row: type[Row], summary: str, *, identity: str, planned: str, title: str
) -> Stream:
    """A stream of texts that were found behind addresses or in files."""
    return Stream(
        name=name,
        row=row,
        summary=summary,
        identity=(identity,),
        is_derived=True,
        planned=planned,
        kind="article" if planned == URLS else "document",
        title=title,
        body="{text}",
        keep_hot=YEAR,
    )


TEXTS = (
    _text(
        "task.url.processed_content",
        PageText,
        "The text behind addresses.",
        identity="url",
        planned=URLS,
        title="{title}",
    ),
    _text(
        "task.url.processed.twitter_archived",
        PostArchive,
        "Posts on X, with all that their pages showed.",
        identity="url",
        planned=URLS,
        title="{url}",
    ),
    _text(
        "task.url.processed.hackernews_archived",
        StoryArchive,
        "Stories of Hacker News, with the pages they link to.",
        identity="url",
        planned=URLS,
        title="{title}",
    ),
    _text(
        "task.url.processed.pdf_extracted",
        PdfText,
        "The text of PDFs behind addresses.",
        identity="url",
        planned=URLS,
        title="{title}",
    ),
    _text(
        "processed.document.parsed",
        DocumentText,
        "The text of documents that were handed in.",
        identity="original_filename",
        planned=DOCUMENTS,
        title="{original_filename}",
    ),
    _text(
        "processed.github.parsed",
        RepositoryText,
        "Repositories, each as one text.",
        identity="url",
        planned=DOCUMENTS,
        title="{repository_name}",
    ),
)

STREAMS = (URL_TASK, GITHUB_TASK, DOCUMENT_TASK, *TEXTS)
