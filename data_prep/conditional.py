"""Conditional writes to S3 (If-None-Match, If-Match), which pyarrow.fs does not know."""

import threading
from functools import cached_property
from typing import Any

CHANGED, CONFLICT, NO_CONDITIONS = (404, 412), 409, (400, 405, 501)
CONNECT_SECONDS, REQUEST_SECONDS, S3_ATTEMPTS = 5.0, 20.0, 6
CONFLICTS = 3  # that one request may meet, of others at the same moment


class ConditionalWrites:
    """Writes objects below the folder `path` of a bucket if they still hold what was seen of them.

    `endpoint` is the address of the server, None for AWS. Threads may share it.
    """

    def __init__(self, bucket: str, path: str, endpoint: str | None, region: str) -> None:
        self._bucket, self._path, self._endpoint, self._region = bucket, path, endpoint, region
        self._tags: dict[str, tuple[bytes, str]] = {}  # key -> what was written last, and its entity tag
        self._known = True
        self._lock = threading.Lock()

    def swap(self, name: str, content: bytes, seen: bytes | None) -> bool | None:
        """As `Folder.swap`; None where the server knows no conditions. Raises OSError where it does not answer."""
        from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError

        key = f"{self._path.rstrip('/')}/{name}".lstrip("/")
        try:
            for _ in range(CONFLICTS) if self._known else ():
                tag = self._tag_of(key, seen)
                if seen is not None and tag is None:
                    return self._read(key)[0] == content
                try:
                    return self._put(key, content, {"IfNoneMatch": "*"} if tag is None else {"IfMatch": tag})
                except ClientError as error:
                    status = error.response["ResponseMetadata"]["HTTPStatusCode"]
                    if status in CHANGED:
                        return self._read(key)[0] == content
                    if status in NO_CONDITIONS:
                        self._known = False
                        return None
                    if status != CONFLICT:
                        raise
        except NoCredentialsError:  # which pyarrow may have found elsewhere, or do without
            self._known = False
        except (BotoCoreError, ClientError) as error:
            raise OSError(f"s3://{self._bucket}/{key}: {error}") from error
        return None if not self._known else False

    def _put(self, key: str, content: bytes, condition: dict[str, str]) -> bool:
        answer = self._client.put_object(Bucket=self._bucket, Key=key, Body=content, **condition)
        self._tags[key] = content, answer["ETag"]
        return True

    def _tag_of(self, key: str, seen: bytes | None) -> str | None:
        """The entity tag of the object that holds `seen`; None where none does."""
        if seen is None:
            return None
        written, tag = self._tags.get(key) or (None, None)
        if written != seen:
            written, tag = self._read(key)
        return tag if written == seen else None

    def _read(self, key: str) -> tuple[bytes | None, str | None]:
        try:
            answer = self._client.get_object(Bucket=self._bucket, Key=key)
        except self._client.exceptions.NoSuchKey:
            return None, None
        return answer["Body"].read(), answer["ETag"]

    @cached_property
    def _client(self) -> Any:
        from botocore.config import Config
        from botocore.session import Session

        config = Config(
            connect_timeout=CONNECT_SECONDS,
            read_timeout=REQUEST_SECONDS,
            retries={"total_max_attempts": S3_ATTEMPTS, "mode": "standard"},
            s3={"addressing_style": "path" if self._endpoint else "auto"},
            request_checksum_calculation="when_required",  # which other servers than AWS's may not know
            response_checksum_validation="when_required",
        )
        with self._lock:
            return Session().create_client("s3", region_name=self._region, endpoint_url=self._endpoint, config=config)
