#!/usr/bin/env python3
"""A small S3 client that shares nothing with the product: tests look into buckets and damage objects with it, the
benchmarks' limit program uploads with it. AWS Signature Version 4, path-style addresses, no retries.

    s3client.py --endpoint URL --bucket NAME COMMAND ...
        make-bucket | list [PREFIX] | get KEY FILE | put KEY FILE | delete KEY...

The keys come from AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, the region from --region. The server's certificate is
verified only with --ca.
"""
import argparse
import datetime
import hashlib
import hmac
import http.client
import os
import ssl
import sys
import urllib.parse
import xml.etree.ElementTree


class S3Error(Exception):
    """An answer other than success."""

    def __init__(self, method, key, status, body):
        super().__init__(f"{method} {key}: status {status}: {body[:300]!r}")
        self.status = status


class S3Client:
    """One keep-alive connection; not for use by several threads at once."""

    def __init__(self, endpoint, bucket, access_key, secret_key, region="us-east-1", ca=None):
        parts = urllib.parse.urlsplit(endpoint)
        self.bucket, self.region = bucket, region
        self.access_key, self.secret_key = access_key, secret_key
        self.host = parts.netloc
        if parts.scheme == "https":
            context = ssl.create_default_context(cafile=ca)
            if ca is None:
                context.check_hostname = False
                context.verify_mode = ssl.CERT_NONE
            self.connection = http.client.HTTPSConnection(parts.hostname, parts.port, timeout=120, context=context)
        else:
            self.connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=120)

    def _signature(self, method, path, query, headers, payload_hash, stamp):
        names = ";".join(sorted(headers))
        canonical = "\n".join([method, path, query, "".join(f"{name}:{headers[name]}\n" for name in sorted(headers)),
                               names, payload_hash])
        scope = f"{stamp[:8]}/{self.region}/s3/aws4_request"
        text = f"AWS4-HMAC-SHA256\n{stamp}\n{scope}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
        key = ("AWS4" + self.secret_key).encode()
        for part in (stamp[:8], self.region, "s3", "aws4_request", text):
            key = hmac.new(key, part.encode(), hashlib.sha256).digest()
        return (f"AWS4-HMAC-SHA256 Credential={self.access_key}/{scope}, SignedHeaders={names}, "
                f"Signature={key.hex()}")

    def request(self, method, key="", query=None, body=b"", extra=None):
        path = urllib.parse.quote(f"/{self.bucket}" + (f"/{key}" if key else ""), safe="/~")
        query = "&".join(f"{urllib.parse.quote(name, safe='~')}={urllib.parse.quote(value, safe='~')}"
                         for name, value in sorted((query or {}).items()))
        payload_hash = hashlib.sha256(body).hexdigest()
        stamp = datetime.datetime.now(datetime.timezone.utc).strftime("%Y%m%dT%H%M%SZ")
        headers = {"host": self.host, "x-amz-content-sha256": payload_hash, "x-amz-date": stamp}
        headers.update(extra or {})
        authorization = self._signature(method, path, query, headers, payload_hash, stamp)
        self.connection.putrequest(method, path + ("?" + query if query else ""), skip_host=True,
                                   skip_accept_encoding=True)
        for name, value in headers.items():
            self.connection.putheader(name, value)
        self.connection.putheader("Authorization", authorization)
        self.connection.putheader("Content-Length", str(len(body)))
        self.connection.endheaders()
        if body:
            # Apart from the head: joining them would copy the body.
            self.connection.send(body)
        answer = self.connection.getresponse()
        content = answer.read()
        if answer.status >= 300:
            raise S3Error(method, key or self.bucket, answer.status, content)
        return content

    def make_bucket(self):
        try:
            self.request("PUT")
        except S3Error as error:
            if error.status != 409:
                raise

    def put(self, key, body):
        self.request("PUT", key, body=body)

    def get(self, key, byte_range=None):
        extra = {"range": "bytes=%d-%d" % byte_range} if byte_range else None
        return self.request("GET", key, extra=extra)

    def delete(self, key):
        self.request("DELETE", key)

    def list(self, prefix=""):
        """Yields (key, size)."""
        token = None
        while True:
            query = {"list-type": "2", "prefix": prefix}
            if token:
                query["continuation-token"] = token
            root = xml.etree.ElementTree.fromstring(self.request("GET", query=query))
            space = root.tag[:root.tag.index("}") + 1] if root.tag.startswith("{") else ""
            for entry in root.iter(space + "Contents"):
                yield entry.find(space + "Key").text, int(entry.find(space + "Size").text)
            if root.findtext(space + "IsTruncated") != "true":
                return
            token = root.findtext(space + "NextContinuationToken")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--endpoint", required=True)
    parser.add_argument("--bucket", required=True)
    parser.add_argument("--region", default="us-east-1")
    parser.add_argument("--ca")
    parser.add_argument("command", choices=["make-bucket", "list", "get", "put", "delete"])
    parser.add_argument("arguments", nargs="*")
    options = parser.parse_args()
    client = S3Client(options.endpoint, options.bucket, os.environ["AWS_ACCESS_KEY_ID"],
                      os.environ["AWS_SECRET_ACCESS_KEY"], options.region, options.ca)
    if options.command == "make-bucket":
        client.make_bucket()
    elif options.command == "list":
        for key, size in client.list(*options.arguments[:1]):
            print(f"{size}\t{key}")
    elif options.command == "get":
        content = client.get(options.arguments[0])
        with open(options.arguments[1], "wb") as file:
            file.write(content)
    elif options.command == "put":
        with open(options.arguments[1], "rb") as file:
            client.put(options.arguments[0], file.read())
    else:
        for key in options.arguments:
            client.delete(key)


if __name__ == "__main__":
    try:
        main()
    except (S3Error, OSError) as error:
        sys.exit(f"s3client: {error}")
