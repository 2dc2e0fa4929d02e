"""A headless Chromium driven over its debugging pipe, with the standard library alone."""

import fcntl
import json
import os
import shutil
import subprocess
from contextlib import contextmanager
from pathlib import Path

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome")
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--hide-scrollbars",
    "--remote-debugging-pipe",
]
# Chromium's --remote-debugging-pipe reads commands from descriptor 3 and writes answers to descriptor 4.
COMMANDS_FD, ANSWERS_FD = 3, 4
FIRST_FREE_FD = 5


def find() -> str | None:
    return next((path for path in map(shutil.which, NAMES) if path), None)


needs_browser = pytest.mark.skipif(find() is None, reason="no Chromium is installed: apt-get install chromium")


class Page:
    """One tab."""

    def __init__(self, commands, answers):
        self._commands, self._answers, self._last, self._session = commands, answers, 0, None
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]

    def call(self, method: str, **params) -> dict:
        self._last += 1
        message = {"id": self._last, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        self._commands.write(json.dumps(message).encode() + b"\0")
        self._commands.flush()
        while True:
            answer = json.loads(self._read())
            if answer.get("id") == self._last:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']}")
                return answer["result"]

    def _read(self) -> bytes:
        data = bytearray()
        while (byte := self._answers.read(1)) != b"\0":
            if not byte:
                raise RuntimeError("chromium has closed its pipe")
            data += byte
        return bytes(data)

    def open(self, url: str) -> None:
        self.call("Page.navigate", url=url)
        self.evaluate(
            "new Promise(done => document.readyState === 'complete' ? done() : addEventListener('load', done))"
        )

    def evaluate(self, expression: str):
        result = self.call("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in result:
            raise RuntimeError(result["exceptionDetails"])
        return result["result"].get("value")

    def press(self, key: str) -> None:
        for kind in ("rawKeyDown", "keyUp"):
            code = {"Tab": 9}.get(key, 0)
            self.call("Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=code)

    def media(self, scheme: str) -> None:
        self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])

    def size(self, width: int, height: int) -> None:
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)


@contextmanager
def showing(page: str, folder: Path, *, width: int = 1200):
    """A tab of a fresh browser, ``width`` x 900 pixels, with a page given as HTML; files go into ``folder``."""
    file = folder / "page.html"
    file.write_text(page, encoding="utf-8")
    with opened(str(folder / "profile"), find()) as tab:
        tab.size(width, 900)
        tab.open(file.as_uri())
        yield tab


@contextmanager
def opened(profile: str, executable: str):
    """A page of a fresh browser with a fresh profile directory."""
    (commands_read, commands_write), (answers_read, answers_write) = os.pipe(), os.pipe()
    # Moved out of the way, so that putting one descriptor in place cannot close the other.
    theirs = [fcntl.fcntl(fd, fcntl.F_DUPFD, FIRST_FREE_FD) for fd in (commands_read, answers_write)]
    browser = subprocess.Popen(
        [executable, *FLAGS, f"--user-data-dir={profile}"],
        preexec_fn=lambda: (os.dup2(theirs[0], COMMANDS_FD), os.dup2(theirs[1], ANSWERS_FD)),
        close_fds=False,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    for fd in (commands_read, answers_write, *theirs):
        os.close(fd)
    with os.fdopen(commands_write, "wb") as commands, os.fdopen(answers_read, "rb", buffering=0) as answers:
        try:
            yield Page(commands, answers)
        finally:
            browser.terminate()
            browser.wait(timeout=30)
