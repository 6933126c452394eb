"""An index behind HTTP: a real server process, asked by plain requests and by a real browser."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import av
import psutil
import pytest

from stages.serve.api import MOST_MOMENTS
from tests.small_run import FABULA, ROOT, SmallRun


class Server:
    """A running `fabula serve`."""

    def __init__(self, url: str) -> None:
        self.url = url

    def get(self, path: str, **headers: str) -> tuple[int, dict[str, str], bytes]:
        return self._open(urllib.request.Request(self.url + path, headers=headers))

    def ask(self, path: str, **question: Any) -> tuple[int, Any]:
        body, headers = json.dumps(question).encode(), {"Content-Type": "application/json"}
        status, _, answer = self._open(urllib.request.Request(self.url + path, data=body, headers=headers))
        return status, json.loads(answer)

    def _open(self, request: urllib.request.Request) -> tuple[int, dict[str, str], bytes]:
        try:
            with urllib.request.urlopen(request, timeout=60) as response:
                return response.status, dict(response.headers), response.read()
        except urllib.error.HTTPError as error:
            return error.code, dict(error.headers), error.read()


@contextmanager
def served(*arguments: str) -> Iterator[Server]:
    """Start a server on a free port, and stop it as somebody at the keyboard would."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [*FABULA, "serve", "--port", "0", *arguments]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)
    assert process.stdout is not None
    line = process.stdout.readline()
    found = re.match(r"serving (http://\S+)/ ", line)
    if not found:
        process.kill()
        raise AssertionError(f"no address in {line!r}: {process.communicate()[1]}")
    try:
        yield Server(found[1])
    finally:
        process.send_signal(signal.SIGINT)
        errors = process.communicate(timeout=30)[1]
    assert process.returncode == 0, errors
    assert "Traceback" not in errors


@pytest.fixture(scope="module")
def server(small_run: SmallRun) -> Iterator[Server]:
    with served("--config", str(small_run.config)) as running:
        yield running


def first_video(server: Server) -> str:
    status, answer = server.ask("/api/sentence", text="a red square spins", hits=1)
    assert status == 200
    return str(answer["hits"][0]["video_id"])


def test_answers_are_those_of_the_command_line(server: Server, small_run: SmallRun) -> None:
    sentence, paragraph = "a red square spins", small_run.folder / "corpus" / "example_paragraph.txt"
    assert server.ask("/api/sentence", text=sentence, hits=3) == (200, small_run.json("query", sentence, "-k", "3"))
    asked = server.ask("/api/paragraph", text=paragraph.read_text(), hits=3)
    assert asked == (200, small_run.json("query", "--paragraph", str(paragraph), "-k", "3"))
    name = next(small_run.videos.glob("*.mp4")).name
    assert server.ask("/api/like", video=name, hits=3) == (200, small_run.json("query", "--like", name, "-k", "3"))


def test_it_says_what_is_served(server: Server) -> None:
    about = json.loads(server.get("/api/index")[2])
    assert (about["num_videos"], about["random_weights"], about["plays_media"]) == (20, False, True)
    assert "random:seed=0" in about["features"]
    video = json.loads(server.get(f"/api/videos/{first_video(server)}")[2])
    assert video["has_media"]
    assert video["narrations"]
    assert 0 < video["narrations"][0]["end_s"] <= video["end_s"] + 1


def test_names_are_found_whatever_their_case(server: Server, small_run: SmallRun) -> None:
    names = sorted(path.name for path in small_run.videos.glob("*.mp4"))
    assert json.loads(server.get("/api/videos?part=DEMO&most=3")[2]) == names[:3]
    assert json.loads(server.get("/api/videos?part=nothing-is-called-so")[2]) == []


def test_a_player_can_jump(server: Server, small_run: SmallRun) -> None:
    video_id = first_video(server)
    content = (small_run.videos / f"{video_id}.mp4").read_bytes()
    status, headers, part = server.get(f"/media/{video_id}", Range="bytes=100-199")
    assert (status, part) == (206, content[100:200])
    assert headers["content-type"] == "video/mp4"
    assert server.get(f"/media/{video_id}")[2] == content
    head = urllib.request.Request(f"{server.url}/media/{video_id}", method="HEAD")
    with urllib.request.urlopen(head, timeout=60) as response:
        assert (response.headers["content-length"], response.read()) == (str(len(content)), b"")


def test_a_moment_is_an_mp4_of_its_length(server: Server, tmp_path: Path) -> None:
    status, headers, content = server.get(f"/moments/{first_video(server)}?start_s=2&end_s=4.5")
    assert (status, headers["content-type"]) == (200, "video/mp4")
    (tmp_path / "moment.mp4").write_bytes(content)
    with av.open(str(tmp_path / "moment.mp4")) as container:
        stream = container.streams.video[0]
        times = [frame.time for frame in container.decode(stream)]
    assert stream.codec_context.name == "h264"
    assert times[-1] - times[0] == pytest.approx(2.5, abs=0.2)


def test_a_thumbnail_shows_its_time(server: Server) -> None:
    video_id = first_video(server)
    early, late = (server.get(f"/thumbnails/{video_id}?time_s={time}") for time in (1, 1000))
    assert early[0] == late[0] == 200
    assert early[2][:3] == late[2][:3] == b"\xff\xd8\xff"
    assert early[2] != late[2]


@pytest.mark.parametrize(
    ("path", "status", "words"),
    [
        ("/media/nothing", 404, "no video of this index"),
        ("/thumbnails/nothing", 404, "no video of this index"),
        ("/media/..%2F..%2Fetc%2Fpasswd", 404, ""),
        ("/media/%2e%2e/%2e%2e/pyproject.toml", 404, ""),
        ("/../../pyproject.toml", 404, ""),
        ("/%2e%2e/api.py", 404, ""),
        ("/moments/{video}?start_s=5&end_s=4", 400, "expected 0 <= start < end"),
        ("/moments/{video}?start_s=0&end_s=100000", 400, "start + 120"),
        ("/moments/{video}?start_s=nan&end_s=1", 422, ""),
    ],
)
def test_what_is_not_there_is_refused(server: Server, path: str, status: int, words: str) -> None:
    found, _, body = server.get(path.replace("{video}", first_video(server)))
    assert found == status
    assert words in body.decode()


@pytest.mark.parametrize(
    ("path", "question", "status", "words"),
    [
        ("/api/sentence", {"text": "   "}, 400, "holds no words"),
        ("/api/sentence", {"text": "x", "hits": 0}, 422, "hits"),
        ("/api/sentence", {"txet": "x"}, 422, "txet"),
        ("/api/sentence", {"text": "\ud800"}, 422, "unicode"),
        ("/api/sentence", {"text": "x", "hits": float("nan")}, 422, "finite"),
        ("/api/paragraph", {"text": "..."}, 400, "holds no words"),
        ("/api/like", {"video": "no-such-video"}, 400, "no video of"),
    ],
)
def test_a_bad_question_gets_words(
    server: Server, path: str, question: dict[str, Any], status: int, words: str
) -> None:
    found, answer = server.ask(path, **question)
    assert found == status
    assert list(answer) == ["error"]
    assert words in answer["error"]


def makers_of_moments() -> list[str]:
    return [process.name() for process in psutil.Process().children(recursive=True) if "ffmpeg" in process.name()]


def test_players_that_go_away_leave_no_process_and_no_place_taken(server: Server) -> None:
    path = f"/moments/{first_video(server)}?start_s=0&end_s=100"
    host, _, port = server.url.removeprefix("http://").partition(":")
    players = [socket.create_connection((host, int(port))) for _ in range(MOST_MOMENTS + 4)]
    for player in players:
        player.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    for player in players:
        player.close()
    deadline = time.monotonic() + 30
    while (left := (makers_of_moments(), server.get(path)[0])) != ([], 200) and time.monotonic() < deadline:
        time.sleep(0.2)  # a place is given back behind the end of the process that it was for
    assert left == ([], 200)


def test_no_more_moments_are_made_than_there_are_places(server: Server) -> None:
    path = f"/moments/{first_video(server)}?start_s=0&end_s=100"
    with ThreadPoolExecutor(4 * MOST_MOMENTS) as pool:
        statuses = list(pool.map(lambda _: server.get(path)[0], range(4 * MOST_MOMENTS)))
    assert set(statuses) <= {200, 503}
    assert statuses.count(200) >= MOST_MOMENTS


def test_a_foreign_host_name_is_refused(server: Server) -> None:
    assert server.get("/api/index", Host="evil.example")[0] == 400
    assert server.get("/api/index", Host="localhost")[0] == 200


def test_an_address_of_ipv6_is_served_and_as_closed_to_foreign_names(small_run: SmallRun) -> None:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError as error:
        pytest.skip(f"this machine has no IPv6 loopback address ({error})")
    with served("--config", str(small_run.config), "--host", "::1") as running:
        assert running.url.startswith("http://[::1]:")
        assert running.get("/api/index")[0] == 200
        assert running.get("/api/index", Host="evil.example")[0] == 400


def test_a_bundle_alone_is_served_without_media(small_run: SmallRun, tmp_path: Path) -> None:
    small_run.fabula("export", "--label", "index", "--to", str(tmp_path / "bundle"))
    with served("--bundle", str(tmp_path / "bundle")) as alone:
        video_id = first_video(alone)
        assert not json.loads(alone.get("/api/index")[2])["plays_media"]
        assert alone.get(f"/media/{video_id}")[0] == 404
        assert alone.get(f"/thumbnails/{video_id}")[0] == 404
    with served("--bundle", str(tmp_path / "bundle"), "--media", str(small_run.videos)) as with_media:
        assert with_media.get(f"/media/{video_id}")[0] == 200


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "say where to look"),
        (("--bundle", "nowhere"), "holds no bundle.json"),
        (("--bundle", "nowhere", "--media", "nowhere"), "there is no such folder"),
    ],
)
def test_serving_nothing_is_refused(arguments: Sequence[str], words: str, tmp_path: Path) -> None:
    command = [*FABULA, "serve", *arguments]
    done = subprocess.run(
        command, cwd=tmp_path, capture_output=True, text=True, check=False, env={**os.environ, "PYTHONPATH": str(ROOT)}
    )
    assert done.returncode in (1, 2)
    assert words in done.stderr
    assert "Traceback" not in done.stderr


def test_a_port_in_use_is_refused(server: Server, small_run: SmallRun) -> None:
    port = server.url.rpartition(":")[2]
    done = small_run.fabula("serve", "--port", port, code=2)
    assert "cannot listen" in done.stderr


@pytest.mark.browser
@pytest.mark.parametrize("size", [(1280, 800), (390, 844)], ids=["desktop", "phone"])
def test_the_page_finds_and_plays(server: Server, small_run: SmallRun, size: tuple[int, int]) -> None:
    playwright = pytest.importorskip("playwright.sync_api")
    chromium = os.environ.get("FABULA_CHROMIUM") or shutil.which("chromium")
    shots = Path(os.environ["FABULA_SCREENSHOTS"]) if "FABULA_SCREENSHOTS" in os.environ else None
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": size[0], "height": size[1]})
        problems: list[str] = []
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("console", lambda message: problems.append(message.text) if message.type == "error" else None)
        page.goto(server.url + "/")
        page.fill("#text", "a red square spins")
        page.press("#text", "Enter")
        page.wait_for_selector(".moment")
        _shoot(page, shots, f"sentence-{size[0]}")
        page.click(".moment .picture")
        _until(page, "document.querySelector('video').currentTime > 0")
        page.get_by_text("Paragraph").click()
        page.fill("#text", (small_run.folder / "corpus" / "example_paragraph.txt").read_text())
        page.click("button[type=submit]")
        page.wait_for_selector(".story .track button")
        _shoot(page, shots, f"paragraph-{size[0]}")
        page.reload()  # the address holds the question
        page.wait_for_selector(".story")
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        browser.close()
    assert not problems


def _until(page: Any, condition: str) -> None:
    """Poll a condition; the page's own policy forbids the evaluation that `wait_for_function` does inside of it."""
    for _ in range(300):
        if page.evaluate(condition):
            return
        page.wait_for_timeout(100)
    raise AssertionError(f"never true: {condition}")


def _shoot(page: Any, folder: Path | None, name: str) -> None:
    if folder is not None:
        page.wait_for_load_state("networkidle")
        page.screenshot(path=folder / f"{name}.png", full_page=True)
