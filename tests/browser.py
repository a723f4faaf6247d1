"""A headless Chromium for tests, spoken to over a pipe; everything it asks for and complains of is kept."""

from __future__ import annotations

import base64
import json
import os
import select
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

CHROMIUM = next((p for n in ("chromium", "chromium-browser", "google-chrome") if (p := shutil.which(n))), None)
FLAGS = ["--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--no-first-run",
         "--disable-background-networking", "--disable-component-update", "--remote-debugging-pipe"]  # fmt: skip


class Browser:
    """One page. `requests` are the addresses it asked for, `complaints` its console's errors and warnings."""

    def __init__(self, read: int, write: int) -> None:
        self.requests: list[str] = []
        self.complaints: list[str] = []
        self._read, self._write, self._buffer, self._id, self._session = read, write, b"", 0, ""
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Network", "Runtime", "Log"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """Sends a command and returns its result; events on the way are kept."""
        self._id += 1
        message = {"id": self._id, "method": method, "params": params}
        message |= {"sessionId": self._session} if self._session else {}
        os.write(self._write, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._next()
            if answer.get("id") == self._id:
                assert "error" not in answer, answer["error"]
                return answer["result"]

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self._buffer:
            assert select.select([self._read], [], [], 60)[0], "the browser does not answer"
            chunk = os.read(self._read, 1 << 20)
            assert chunk, "the browser is gone"
            self._buffer += chunk
        text, _, self._buffer = self._buffer.partition(b"\0")
        event = json.loads(text)
        self._keep(event.get("method", ""), event.get("params", {}))
        return event

    def _keep(self, method: str, params: dict[str, Any]) -> None:
        if method == "Network.requestWillBeSent" and not params["request"]["url"].startswith("data:"):
            self.requests.append(params["request"]["url"][:200])
        if method == "Runtime.exceptionThrown":
            self.complaints.append(str(params["exceptionDetails"].get("exception", params))[:500])
        if method == "Runtime.consoleAPICalled" and params["type"] in ("error", "warning", "assert"):
            self.complaints.append(str(params["args"])[:500])
        if method == "Log.entryAdded" and params["entry"]["level"] in ("error", "warning"):
            self.complaints.append(params["entry"]["text"])

    def open(self, page: Path, width: int = 1280, height: int = 900, dark: bool = False, phone: bool = False) -> None:
        """Opens a file in a window of a size and colour scheme."""
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=2 if phone else 1,
                  mobile=phone)  # fmt: skip
        self.requests.clear()
        self.call("Page.navigate", url=page.resolve().as_uri())
        for _ in range(200):
            if self.evaluate("document.readyState") == "complete" and self.evaluate("location.protocol") == "file:":
                return
            time.sleep(0.05)
        raise AssertionError(f"{page} does not load")

    def evaluate(self, expression: str) -> Any:
        """Returns what an expression gives on the page."""
        answer = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def becomes(self, expression: str, wanted: Any) -> bool:
        """Returns whether an expression comes to a value within five seconds."""
        for _ in range(100):
            if self.evaluate(expression) == wanted:
                return True
            time.sleep(0.05)
        return False

    def click(self, selector: str) -> None:
        """Moves the mouse onto the middle of an element and presses it."""
        found = json.dumps(selector)
        x, y = self.evaluate(
            f"(() => {{ const e = document.querySelector({found});"
            " e.scrollIntoView({block: 'center', inline: 'center'});"
            " const r = e.getBoundingClientRect(); return [r.left + r.width / 2, r.top + r.height / 2]; })()"
        )
        self.press(x, y)

    def press(self, x: float, y: float) -> None:
        """Presses the mouse at a point of the window."""
        self.call("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)
        for kind in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def type(self, text: str) -> None:
        """Types into what has the focus."""
        self.call("Input.insertText", text=text)

    def screenshot(self, path: Path, whole: bool = True) -> None:
        """Writes a PNG of the page."""
        data = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=whole)["data"]
        path.write_bytes(base64.b64decode(data))


@contextmanager
def browser(profile: Path) -> Iterator[Browser]:
    """Starts a browser with a profile of its own and ends it.

    Args:
        profile: an empty folder.
    """
    assert CHROMIUM
    to_read, to_write = os.pipe(), os.pipe()  # it reads from descriptor 3 and writes to descriptor 4
    for fd in (to_read[0], to_write[1]):
        os.set_inheritable(fd, True)
    # through high numbers, so that neither is closed by the other
    shell = f'exec 13<&{to_read[0]} 14>&{to_write[1]}; exec "$@" 3<&13 4>&14 13<&- 14>&-'
    process = subprocess.Popen(
        ["bash", "-c", shell, "bash", CHROMIUM, *FLAGS, f"--user-data-dir={profile}"],
        pass_fds=(to_read[0], to_write[1]), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    for fd in (to_read[0], to_write[1]):
        os.close(fd)
    try:
        page = Browser(to_write[0], to_read[1])
        yield page
        with suppress(AssertionError, OSError):
            page._session = ""
            page.call("Browser.close")
    finally:
        for fd in (to_read[1], to_write[0]):
            os.close(fd)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
