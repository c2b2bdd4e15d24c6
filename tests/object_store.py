"""A real server that speaks S3, moto's, in this process, with a bucket that keeps every version of its objects."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from urllib.request import Request, urlopen

import pytest


class Store:
    """The server and its one bucket, asked by another client than genrobust's."""

    def __init__(self) -> None:
        import boto3

        self.port = 0
        self.serve()
        self.port = self.server.get_host_and_port()[1]
        place = f"http://127.0.0.1:{self.port}"
        self.environment = {
            "AWS_ENDPOINT_URL": place,
            "AWS_ACCESS_KEY_ID": "one",
            "AWS_SECRET_ACCESS_KEY": "two",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
        }
        known = {"aws_access_key_id": "one", "aws_secret_access_key": "two"}
        self.client = boto3.client("s3", "us-east-1", endpoint_url=place, **known)

    def serve(self) -> None:
        """Start the server, on the port that it had."""
        from moto.server import ThreadedMotoServer

        self.server = ThreadedMotoServer("127.0.0.1", self.port, verbose=False)
        self.server.start()

    def tell(self, what: str, body: bytes = b"") -> None:
        """Ask something of the server that is not S3: "reset", or "reset-auth" with how many more need no right key."""
        place = f"http://127.0.0.1:{self.port}/moto-api/{what}"
        urlopen(Request(place, data=body, method="POST", headers={"Content-Type": "text/plain"})).close()

    def make_bucket(self) -> None:
        self.client.create_bucket(Bucket="bucket")
        self.client.put_bucket_versioning(Bucket="bucket", VersioningConfiguration={"Status": "Enabled"})

    def on(self, machine: Path, *words: str, **changed: str) -> list[str]:
        """The words that run a command of genrobust on a machine with copies in the folder `machine`."""
        environment = {**self.environment, "GENROBUST_COPIES": str(machine), **changed}
        return [*(f"{name}={value}" for name, value in environment.items()), *words]

    def versions(self) -> dict[str, list[str]]:
        """The hashes of all that was ever put under each key, the newest first; without marks."""
        found: dict[str, list[str]] = {}
        for page in self.client.get_paginator("list_object_versions").paginate(Bucket="bucket", Prefix="runs/"):
            for version in page.get("Versions", []):
                key = version["Key"].removeprefix("runs/")
                if not key.startswith("."):
                    found.setdefault(key, []).append(version["ETag"])
        return found

    def contents(self) -> dict[str, bytes]:
        """What lies below the URL by its name, but marks."""
        keys = [key for key in self.names() if not key.startswith("runs/.")]
        read = ((key, self.client.get_object(Bucket="bucket", Key=key)["Body"].read()) for key in keys)
        return {key.removeprefix("runs/"): body for key, body in read}

    def names(self, prefix: str = "runs/") -> list[str]:
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket="bucket", Prefix=prefix)
        return [found["Key"] for page in pages for found in page.get("Contents", [])]


@pytest.fixture(scope="module")
def running_store() -> Iterator[Store]:
    made = Store()
    yield made
    made.server.stop()


@pytest.fixture
def store(running_store: Store) -> Iterator[Store]:
    """The server with its bucket, empty."""
    running_store.make_bucket()
    yield running_store
    running_store.tell("reset")
