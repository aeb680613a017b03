"""A headless Chromium that lays pages out, spoken to over a pipe by its own protocol.

Pages are handed over as text, so it reads no file, and may be confined.
"""

import base64
import contextlib
import fcntl
import json
import os
import pathlib
import shutil
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

NAMES = ("google-chrome", "google-chrome-stable", "chromium", "chromium-browser")
SECONDS = 60
"""More than a page takes on a busy machine."""
FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-extensions",
    "--disable-background-networking",
    "--hide-scrollbars",
    "--no-first-run",
    "--remote-debugging-pipe",
)


def command() -> str:
    """The browser, or a skip."""
    found = next(filter(None, map(shutil.which, NAMES)), None)
    return found or pytest.skip("No Chromium is installed.")


class Tab:
    """One page of the browser: its size, its colours, what scripts find on it."""

    def __init__(self, send: int, receive: int):
        self._send, self._receive = os.fdopen(send, "wb"), os.fdopen(receive, "rb")
        self._count, self._session, self._rest = 0, None, b""
        target = self._call("Target.createTarget", url="about:blank")["targetId"]
        attached = self._call("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        self._frame = self._call("Page.getFrameTree")["frameTree"]["frame"]["id"]

    def show(self, html: str, *, width: int, height: int, scheme: str) -> None:
        """Lays a page out, `scheme` being "light" or "dark"."""
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self._call("Emulation.setDeviceMetricsOverride", **metrics)
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self._call("Emulation.setEmulatedMedia", features=features)
        self._call("Page.setDocumentContent", frameId=self._frame, html=html)

    def found(self, function: str) -> Any:
        """What a function of JavaScript without arguments gives, as plain values."""
        expression = f"({function})()"
        answer = self._call("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def picture(self, *, whole: bool = False) -> bytes:
        """What is on the screen, or the whole page, as a PNG."""
        options = {"format": "png", "captureBeyondViewport": whole}
        if whole:
            size = self._call("Page.getLayoutMetrics")["cssContentSize"]
            options["clip"] = {**size, "scale": 1}
        return base64.b64decode(self._call("Page.captureScreenshot", **options)["data"])

    def close(self) -> None:
        self._write({"id": 0, "method": "Browser.close"})
        self._send.close()
        self._receive.close()

    def _call(self, method: str, **params: Any) -> dict:
        self._count += 1
        message = {"id": self._count, "method": method, "params": params}
        self._write(message | ({"sessionId": self._session} if self._session else {}))
        while True:
            answer = self._read()
            if answer.get("id") == self._count:
                assert "error" not in answer, answer
                return answer["result"]

    def _write(self, message: dict) -> None:
        self._send.write(json.dumps(message).encode() + b"\0")
        self._send.flush()

    def _read(self) -> dict:
        while b"\0" not in self._rest:
            part = self._receive.read1(1 << 20)
            assert part, "the browser ended"
            self._rest += part
        line, _, self._rest = self._rest.partition(b"\0")
        return json.loads(line)


@contextlib.contextmanager
def opened(profile: pathlib.Path) -> Iterator[Tab]:
    """A tab of a new browser, which ends with the block."""
    # The browser reads from its descriptor 3 and writes to 4; ours lie higher.
    (to_read, send), (receive, to_write) = (map(_high, os.pipe()) for _ in range(2))
    shell = f'exec "$0" "$@" 3<&{to_read} 4>&{to_write}'
    arguments = [command(), *FLAGS, f"--user-data-dir={profile}", "about:blank"]
    with subprocess.Popen(
        ["/bin/bash", "-c", shell, *arguments],
        pass_fds=(to_read, to_write),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        os.close(to_read)
        os.close(to_write)
        try:
            tab = Tab(send, receive)
            yield tab
            tab.close()
            process.wait(SECONDS)
        finally:
            process.kill()


def _high(descriptor: int) -> int:
    """The same end of a pipe under a number from 10 on."""
    high = fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, 10)
    os.close(descriptor)
    return high
