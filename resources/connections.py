"""Where the stores are: plain values that every resource is built from."""

from dataclasses import dataclass, field

from resources.master_keys import MasterKey

REGION = "us-east-1"  # SeaweedFS and MinIO accept any; the clients insist on one


@dataclass(frozen=True)
class Connections:
    """Addresses and keys of the database, the object store, the lake and the vectors.

    `master_key` None: blobs can be neither stored nor read here.
    """

    database_url: str = field(repr=False)
    s3_endpoint: str
    s3_access_key: str = field(repr=False)
    s3_secret_key: str = field(repr=False)
    s3_bucket: str
    lake_uri: str
    vectors_uri: str
    master_key: MasterKey | None = field(default=None, repr=False)

    @property
    def is_s3_secure(self) -> bool:
        """Whether the object store speaks TLS."""
        return self.s3_endpoint.startswith("https://")

    @property
    def s3_host(self) -> str:
        """`host:port`, as clients that take no scheme want it."""
        return self.s3_endpoint.split("://", 1)[-1].rstrip("/")

    def delta_options(self) -> dict[str, str]:
        """Storage options as delta-rs names them."""
        return {
            "AWS_ACCESS_KEY_ID": self.s3_access_key,
            "AWS_SECRET_ACCESS_KEY": self.s3_secret_key,
            "AWS_ENDPOINT_URL": self.s3_endpoint,
            "AWS_REGION": REGION,
            "AWS_ALLOW_HTTP": str(not self.is_s3_secure).lower(),
        }

    def lance_options(self) -> dict[str, str]:
        """Storage options as LanceDB names them."""
        return {
            "aws_access_key_id": self.s3_access_key,
            "aws_secret_access_key": self.s3_secret_key,
            "aws_endpoint": self.s3_endpoint,
            "aws_region": REGION,
            "allow_http": str(not self.is_s3_secure).lower(),
        }
