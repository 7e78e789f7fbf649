"""Opens a page in headless Chromium and looks at it.

browser.py STEP…

Steps, one after the other; a step that fails ends all, with what is on the page
  open:ADDRESS      opens it, and waits until it is loaded
  wait:SCRIPT       until the value of the script is true (within 10 s); prints after how many milliseconds
  check:SCRIPT      its value must be true
  print:SCRIPT      prints its value
  keys:TEXT         presses keys; {Tab}, {Enter}, {Escape}, {Space} are those
  size:WxH          the window's size; below 600 wide it is a phone
  theme:light|dark  what the desktop prefers
  picture:FILE      a PNG of the window
  run:COMMAND       runs a shell's command, and goes on
At the end fails if the page had an error, broke its own policy, or asked another server than the one it came from.

Programs import Browser, too.
"""
import base64
import json
import os
import select
import shutil
import subprocess
import sys
import tempfile
import time

PATIENCE = 10 * float(os.environ.get("TWINPORT_PATIENCE", "1"))
KEYS = {"Tab": 9, "Enter": 13, "Escape": 27, "Space": 32}


class Browser:
    """Chromium, spoken to over two pipes (the DevTools protocol)."""

    def __init__(self, prefix=()):
        self.folder = tempfile.mkdtemp(prefix="twinport-browser-")
        to_read, self.write = os.pipe()
        self.read, to_write = os.pipe()

        def prepare():
            # 3 and 4 are what it expects.
            for source, place in ((os.dup(to_read), 3), (os.dup(to_write), 4)):
                os.dup2(source, place)
                os.set_inheritable(place, True)

        self.process = subprocess.Popen(
            [*prefix, "chromium", "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
             "--no-first-run", "--disable-background-networking", "--disable-component-update", "--hide-scrollbars",
             "--disable-extensions", "--remote-debugging-pipe", f"--user-data-dir={self.folder}", "about:blank"],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, preexec_fn=prepare, close_fds=False,
            start_new_session=True)
        os.close(to_read)
        os.close(to_write)
        self.buffer, self.count, self.events, self.session = b"", 0, [], None
        target = next(t for t in self.call("Target.getTargets", patience=30)["targetInfos"] if t["type"] == "page")
        found = self.call("Target.attachToTarget", targetId=target["targetId"], flatten=True)
        self.session = found["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.call(f"{domain}.enable")

    def close(self):
        try:
            self.process.terminate()
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, 9)
            self.process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)

    def message(self, patience):
        """The next message, or None."""
        end = time.monotonic() + patience
        while b"\0" not in self.buffer:
            rest = end - time.monotonic()
            if rest <= 0 or not select.select([self.read], [], [], rest)[0]:
                return None
            data = os.read(self.read, 1 << 20)
            if not data:
                raise AssertionError("the browser ended")
            self.buffer += data
        line, self.buffer = self.buffer.split(b"\0", 1)
        return json.loads(line)

    def call(self, method, patience=PATIENCE, **parameters):
        self.count += 1
        message = {"id": self.count, "method": method, "params": parameters}
        if self.session:
            message["sessionId"] = self.session
        os.write(self.write, json.dumps(message).encode() + b"\0")
        end = time.monotonic() + patience
        while time.monotonic() < end:
            answer = self.message(end - time.monotonic())
            if answer is None:
                break
            if answer.get("id") == self.count:
                if "error" in answer:
                    raise AssertionError(f"{method}: {answer['error']}")
                return answer["result"]
            if "method" in answer:
                self.events.append(answer)
        raise AssertionError(f"{method}: no answer")

    def value(self, script):
        found = self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in found:
            raise AssertionError(f"{script}: {found['exceptionDetails']}")
        return found["result"].get("value")

    def open(self, address):
        self.call("Page.navigate", url=address)
        self.wait("document.readyState === 'complete' && location.href !== 'about:blank'")

    def wait(self, script):
        start = time.monotonic()
        while not self.value(f"!!({script})"):
            if time.monotonic() - start > PATIENCE:
                raise AssertionError(f"waited in vain for {script}")
            time.sleep(0.02)
        return time.monotonic() - start

    def press(self, text):
        while text:
            name, rest = text[0], text[1:]
            if name == "{" and "}" in text:
                name, rest = text[1:].split("}", 1)
            code = KEYS.get(name)
            letter = {"Space": " ", "Enter": "\r"}.get(name, "" if code else name)
            keys = {"key": {"Space": " "}.get(name, name), "windowsVirtualKeyCode": code or ord(name.upper()),
                    "code": name if code else "", "text": letter}
            self.call("Input.dispatchKeyEvent", type="keyDown" if letter else "rawKeyDown", **keys)
            self.call("Input.dispatchKeyEvent", type="keyUp", **{**keys, "text": ""})
            text = rest

    def size(self, width, height):
        phone = width < 600
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height,
                  deviceScaleFactor=2 if phone else 1, mobile=phone)

    def theme(self, name):
        self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": name}])

    def picture(self, path):
        data = self.call("Page.captureScreenshot", format="png")["data"]
        with open(path, "wb") as file:
            file.write(base64.b64decode(data))

    def faults(self):
        """What the page did that it should not, and whom it asked."""
        self.value("1")
        found, hosts = [], set()
        for event in self.events:
            method, parameters = event["method"], event["params"]
            if method == "Runtime.exceptionThrown":
                found.append(str(parameters["exceptionDetails"])[:400])
            elif method == "Log.entryAdded" and parameters["entry"]["level"] == "error":
                entry = parameters["entry"]
                # A server that is away, or says no, is no fault of the page.
                if "Failed to load resource" not in entry["text"]:
                    found.append(entry["text"])
            elif method == "Network.requestWillBeSent":
                address = parameters["request"]["url"]
                if not address.startswith(("data:", "about:", "chrome:")):
                    hosts.add("/".join(address.split("/")[:3]))
        if len(hosts) > 1:
            found.append(f"it asked {sorted(hosts)}")
        return found


def step(browser, words):
    name, _, value = words.partition(":")
    if name == "open":
        browser.open(value)
    elif name == "wait":
        print(f"{value}: {browser.wait(value) * 1000:.0f} ms", flush=True)
    elif name == "check":
        assert browser.value(f"!!({value})"), f"it is not so: {value}"
    elif name == "print":
        print(browser.value(value), flush=True)
    elif name == "keys":
        browser.press(value)
    elif name == "size":
        browser.size(*map(int, value.split("x")))
    elif name == "theme":
        browser.theme(value)
    elif name == "picture":
        browser.picture(value)
    elif name == "run":
        subprocess.run(value, shell=True, check=True, timeout=30)
    else:
        raise AssertionError(f"no step {words!r}")


def main(steps):
    browser = Browser()
    try:
        for words in steps:
            step(browser, words)
        faults = browser.faults()
        assert not faults, "\n".join(faults)
    except AssertionError as error:
        print(error)
        try:
            print(browser.value("document.body.innerText"))
        except AssertionError:
            pass
        return 1
    finally:
        browser.close()
    return 0


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    sys.exit(main(sys.argv[1:]))
