"""An object store for tests that speaks S3 over real HTTP, with signatures (SigV4) that it checks.

It knows what the product uses: whole and multipart uploads, ranges, deletion and listing. What is
uploaded in parts is no object before the upload is completed.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self
from urllib.parse import parse_qsl, quote, unquote
from xml.etree import ElementTree as ET

from aiohttp import web

BUCKET = "exports"
ACCESS_KEY = "AKIDTEST"
SECRET_KEY = "test-secret"  # of the stand-in alone
REGION = "us-east-1"


@dataclass
class ObjectStore:
    """Listens on a free port; `objects` is what is there, `failing` lets every request fail."""

    objects: dict[str, bytes] = field(default_factory=dict)
    uploads: dict[str, dict[int, bytes]] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)
    failing: bool = False
    endpoint: str = ""

    async def __aenter__(self) -> Self:
        server = web.Server(self._handle)
        self._runner = web.ServerRunner(server, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        host, port = self._runner.addresses[0][:2]
        self.endpoint = f"http://{host}:{port}"
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._runner.cleanup()

    def environment(self) -> dict[str, str]:
        """What an operator would set for it."""
        return {
            "FLOWKICK_EXPORTS_URL": f"s3://{BUCKET}/kept",
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ACCESS_KEY_ID": ACCESS_KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
            "AWS_REGION": REGION,
        }

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        body = await request.content.read()  # of any size
        query = dict(parse_qsl(request.rel_url.raw_query_string, keep_blank_values=True))
        operation = f"{request.method} {'&'.join(sorted(query))}".strip()
        self.requests.append(operation)
        if self.failing:
            return _error(403, "AccessDenied")
        if not _is_signed(request, body, query):
            return _error(403, "SignatureDoesNotMatch")
        bucket, _, key = unquote(request.rel_url.raw_path).removeprefix("/").partition("/")
        if bucket != BUCKET:
            return _error(404, "NoSuchBucket")
        if "uploadId" in query or "uploads" in query:
            return self._multipart(request.method, key, query, body)
        if "delete" in query:
            return self._delete(body)
        if not key:
            return self._list(query.get("prefix", ""))
        return self._object(request, key, body)

    def _object(self, request: web.BaseRequest, key: str, body: bytes) -> web.Response:
        if request.method == "PUT":
            self.objects[key] = body
            return web.Response(headers={"ETag": _etag(body)})
        if request.method == "DELETE":
            self.objects.pop(key, None)
            return web.Response(status=204)
        if key not in self.objects:
            return _error(404, "NoSuchKey")
        content = self.objects[key]
        headers = {"ETag": _etag(content), "Last-Modified": "Fri, 27 Nov 2026 00:00:00 GMT"}
        if request.method == "HEAD":
            return web.Response(headers={**headers, "Content-Length": str(len(content))})
        found = re.fullmatch(r"bytes=(\d+)-(\d+)", request.headers.get("Range", ""))
        if found is None:
            return web.Response(body=content, headers=headers)
        first, last = int(found[1]), min(int(found[2]), len(content) - 1)
        headers["Content-Range"] = f"bytes {first}-{last}/{len(content)}"
        return web.Response(status=206, body=content[first : last + 1], headers=headers)

    def _multipart(self, method: str, key: str, query: dict[str, str], body: bytes) -> web.Response:
        upload = query.get("uploadId", "")
        if method == "POST" and "uploads" in query:
            upload = secrets.token_hex(8)
            self.uploads[upload] = {}
            return _xml("InitiateMultipartUploadResult", Bucket=BUCKET, Key=key, UploadId=upload)
        if upload not in self.uploads:
            return _error(404, "NoSuchUpload")
        if method == "PUT":
            self.uploads[upload][int(query["partNumber"])] = body
            return web.Response(headers={"ETag": _etag(body)})
        parts = self.uploads.pop(upload)
        if method == "DELETE":
            return web.Response(status=204)
        self.objects[key] = b"".join(parts[number] for number in sorted(parts))
        return _xml("CompleteMultipartUploadResult", Key=key, ETag=_etag(self.objects[key]))

    def _delete(self, body: bytes) -> web.Response:
        root = ET.Element("DeleteResult")
        for key in ET.fromstring(body).iterfind(".//{*}Key"):  # noqa: S314  # of our own client
            self.objects.pop(str(key.text), None)
            ET.SubElement(ET.SubElement(root, "Deleted"), "Key").text = key.text
        return web.Response(body=ET.tostring(root), content_type="application/xml")

    def _list(self, prefix: str) -> web.Response:
        root = ET.Element("ListBucketResult")
        for name, value in (("Name", BUCKET), ("Prefix", prefix), ("IsTruncated", "false")):
            ET.SubElement(root, name).text = value
        for key in sorted(key for key in self.objects if key.startswith(prefix)):
            found = ET.SubElement(root, "Contents")
            for name, value in (
                ("Key", key),
                ("LastModified", "2026-11-27T00:00:00.000Z"),
                ("ETag", _etag(self.objects[key])),
                ("Size", str(len(self.objects[key]))),
            ):
                ET.SubElement(found, name).text = value
        return web.Response(body=ET.tostring(root), content_type="application/xml")


def _etag(content: bytes) -> str:
    return f'"{hashlib.sha256(content).hexdigest()[:32]}"'


def _xml(name: str, **values: str) -> web.Response:
    root = ET.Element(name)
    for key, value in values.items():
        ET.SubElement(root, key).text = value
    return web.Response(body=ET.tostring(root), content_type="application/xml")


def _error(status: int, code: str) -> web.Response:
    answer = _xml("Error", Code=code, Message=code)
    answer.set_status(status)
    return answer


def _is_signed(request: web.BaseRequest, body: bytes, query: dict[str, str]) -> bool:
    """Whether the request carries a right signature of the one key there is (AWS SigV4)."""
    found = re.fullmatch(
        r"AWS4-HMAC-SHA256 Credential=([^/]+)/(\d{8})/([^/]+)/s3/aws4_request, ?"
        r"SignedHeaders=([^,]+), ?Signature=([0-9a-f]{64})",
        request.headers.get("Authorization", ""),
    )
    if found is None or found[1] != ACCESS_KEY:
        return False
    _, day, region, names, signature = found.groups()
    hashed = request.headers["x-amz-content-sha256"]
    if hashed not in (hashlib.sha256(body).hexdigest(), "UNSIGNED-PAYLOAD"):
        return False
    headers = "".join(f"{n}:{request.headers[n].strip()}\n" for n in names.split(";"))
    pairs = "&".join(f"{_quoted(k)}={_quoted(v)}" for k, v in sorted(query.items()))
    path = request.rel_url.raw_path
    canonical = f"{request.method}\n{path}\n{pairs}\n{headers}\n{names}\n{hashed}"
    scope = f"{day}/{region}/s3/aws4_request"
    digest = hashlib.sha256(canonical.encode()).hexdigest()
    text = "\n".join(["AWS4-HMAC-SHA256", request.headers["x-amz-date"], scope, digest])
    key = f"AWS4{SECRET_KEY}".encode()
    for part in (day, region, "s3", "aws4_request"):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    return hmac.compare_digest(hmac.new(key, text.encode(), "sha256").hexdigest(), signature)


def _quoted(text: str) -> str:
    return quote(text, safe="-_.~")
