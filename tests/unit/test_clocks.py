"""Times as people read them, on the command line and on the page: one rule, in two languages."""

import json
import re
import shutil
import subprocess

import pytest

from pipeline.show import clock
from stages.serve.api import PAGE_DIR

TIMES = {
    0.0: "0:00.0",
    0.04: "0:00.0",
    9.967: "0:10.0",
    59.94: "0:59.9",
    59.96: "1:00.0",
    61.9: "1:01.9",
    3599.97: "1:00:00.0",
    3725.25 + 0.01: "1:02:05.3",
    36000.0: "10:00:00.0",
}


def test_a_time_is_rounded_before_it_is_split() -> None:
    assert {seconds: clock(seconds) for seconds in TIMES} == TIMES


def test_the_page_reads_times_as_the_command_line_does() -> None:
    node = shutil.which("node")
    if node is None:
        pytest.skip("there is no node on this machine to run the page's function with")
    (function,) = re.findall(r"^function clock.*?^}", (PAGE_DIR / "page.js").read_text(), re.MULTILINE | re.DOTALL)
    script = f"{function}\nconsole.log(JSON.stringify({json.dumps(list(TIMES))}.map(clock)))"
    done = subprocess.run([node, "-e", script], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == list(TIMES.values())
