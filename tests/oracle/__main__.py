"""`python -m tests.oracle --minutes 30` proves the promise for longer; ends 1 where it broke."""

import argparse
import sys
import tempfile
import time
from pathlib import Path

from tests.oracle.run import prove


def main() -> int:
    """Run once; keep the book where the promise was broken."""
    parser = argparse.ArgumentParser(prog="python -m tests.oracle")
    parser.add_argument("--minutes", type=float, default=1.0)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    told = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="am-oracle-"))
    print(f"seed {told.seed}, book in {folder}", flush=True)
    account = prove(folder, seconds=60 * told.minutes, seed=told.seed)
    print(account.report())
    print("the promise was kept" if account.is_kept else "THE PROMISE WAS BROKEN")
    return 0 if account.is_kept else 1


if __name__ == "__main__":
    sys.exit(main())
