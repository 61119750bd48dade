"""check.py PROGRAM CACHE: runs all cases and ends with a count; see `run`."""

import contextlib
import pathlib
import sys
import tempfile
import time
import traceback

import charts
import files
import live


class Report:
    """Counts cases and prints each."""

    def __init__(self) -> None:
        self.passed = self.failed = 0

    @contextlib.contextmanager
    def case(self, name: str):
        """One case; what is raised inside is its failure."""
        begun = time.monotonic()
        try:
            yield
        except Exception as error:
            self.failed += 1
            said = str(error) if isinstance(error, AssertionError) and str(error) else traceback.format_exc()
            print(f"FAILED {name}: {said}", flush=True)
        else:
            self.passed += 1
            took = time.monotonic() - begun
            print(f"ok {name}" + (f" ({took:.1f} s)" if took > 1 else ""), flush=True)


def main() -> int:
    program, cache = (pathlib.Path(argument) for argument in sys.argv[1:3])
    report = Report()
    with tempfile.TemporaryDirectory() as work:
        folder = pathlib.Path(work)
        charts.run(report, cache, folder / "charts")
        files.run(report)
        live.run(report, program, folder / "live")
    word = "FAILED" if report.failed else "ok"
    print(f"test result: {word}. {report.passed} passed; {report.failed} failed")
    return 1 if report.failed else 0


if __name__ == "__main__":
    sys.exit(main())
