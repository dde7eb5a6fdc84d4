"""What is publicly known against the packages that AM is locked to: `python -m infra.advisories`.

pip-audit asks PyPI's advisories. A machine that can't reach them is told so in as many words, and
so is who reads the log of a check: nothing known and nothing asked are two things.
"""

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

LOCK = Path(__file__).parents[1] / "requirements.lock"
PATIENCE_S = 300
COMMAND = (sys.executable, "-m", "pip_audit", "--disable-pip", "--no-deps", "--format", "json")
UNREACHABLE = "advisories unreachable"


@dataclass(frozen=True)
class Verdict:
    """What to print, and whether the check fails."""

    text: str
    is_bad: bool


def judge(packages: Sequence[Mapping[str, Any]]) -> Verdict:
    """Pip-audit's list: each package with its advisories, or with why it was skipped. Pure.

    Only what a newer version mends fails the check: nobody can act on the rest but by leaving a
    package, which is no matter of a check.
    """
    known = [(package, found) for package in packages for found in package.get("vulns", ())]
    skipped = [package for package in packages if "skip_reason" in package]
    lines = [_line(package, found) for package, found in known]
    if skipped:
        lines.append(f"{UNREACHABLE} for {len(skipped)} of {len(packages)} packages")
    asked = len(packages) - len(skipped)
    lines.append(f"{len(known)} advisories against {asked} packages")
    return Verdict("\n".join(lines), any(found.get("fix_versions") for _, found in known))


def run(lock: Path) -> Verdict:
    """Ask about all packages of a lock file."""
    command = [*COMMAND, "--requirement", str(lock)]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=PATIENCE_S, check=False
        )
    except subprocess.TimeoutExpired:
        return Verdict(f"{UNREACHABLE}: no answer within {PATIENCE_S} s", is_bad=False)
    try:
        packages = json.loads(done.stdout)["dependencies"]
    except (ValueError, KeyError):
        reason = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
        return Verdict(f"{UNREACHABLE}: pip-audit: {reason}", is_bad=False)
    return judge(packages)


def _line(package: Mapping[str, Any], found: Mapping[str, Any]) -> str:
    mended = ", ".join(found.get("fix_versions", ())) or "no version yet"
    return f"{package['name']} {package['version']}: {found['id']}, mended by {mended}"


if __name__ == "__main__":
    verdict = run(Path(sys.argv[1]) if len(sys.argv) > 1 else LOCK)
    print(f"pip-audit: {verdict.text}")
    sys.exit(int(verdict.is_bad))
