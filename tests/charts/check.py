"""check.py PROGRAM CACHE: runs all cases that need no API server."""

import pathlib
import sys
import tempfile

import charts
import files
import live
import policies
import release
import schemas
import subcharts
from report import Report


def main() -> int:
    program, cache = (pathlib.Path(argument) for argument in sys.argv[1:3])
    report = Report()
    with tempfile.TemporaryDirectory() as work:
        folder = pathlib.Path(work)
        charts.run(report, cache, folder / "charts")
        subcharts.run(report, schemas.Schemas(folder / "charts" / "schemas"), folder / "subcharts")
        policies.run(report)
        files.run(report)
        release.run(report)
        live.run(report, program, folder / "live")
    return report.finish()


if __name__ == "__main__":
    sys.exit(main())
