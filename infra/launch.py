"""What the supervisor starts for each part: `python -m infra.launch PART`, which becomes the part.

The part's command and environment come from `run/parts.json` (0600), so that no secret and no
odd path has to pass through the supervisor's own file. Before that, whatever an earlier life of
the part has left behind is ended: after a kill its children would hold the port or the data.
"""

import json
import os
import signal
import sys
from pathlib import Path

from infra.home import Home
from infra.processes import MARK, end, processes_of

PARTS_FILE = "parts.json"
HOME_VARIABLE = "AM_STACK_HOME"


def become(part: str, home: Home) -> None:
    """Replace this process by the part. Returns never."""
    plan = json.loads((home.run / PARTS_FILE).read_text())[part]
    own_ancestors = {os.getpid(), os.getppid()}
    left_over = [p for p in processes_of(home, part) if p.pid not in own_ancestors]
    end(left_over, ask=signal.SIGTERM, patience_s=5)
    inherited = dict(os.environ) if plan["inherits_env"] else {}
    environment = {**inherited, **plan["env"], MARK: f"{home.stack_id}/{part}"}
    os.chdir(plan["cwd"])
    os.execve(plan["argv"][0], plan["argv"], environment)  # noqa: S606 - becoming it is the point # nosec B606


if __name__ == "__main__":
    become(sys.argv[1], Home(Path(os.environ[HOME_VARIABLE])))
