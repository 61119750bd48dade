"""Checks the parts of a release: the workflow and its pins, the files of the images, third-party licenses, the VEX document, the
release notes, and descriptions.

files.py checks the syntax of the workflows, and tests/image/run the content of images and packages. No test runs the workflow.
"""

import json
import pathlib
import re
import subprocess
import tempfile
import tomllib

import yaml

import deploy
from files import DOCKERFILE, WORKFLOWS, said_by, stages

ROOT = deploy.ROOT
VEX = ROOT / ".vex" / "witan.openvex.json"
NOTES = ROOT / "deploy" / "release-notes"
NOTICES = "THIRD-PARTY-NOTICES.txt"

# the product's name in descriptions of images, charts and packages
PRODUCT = "Witan, compatible with etcd"

# OpenVEX 0.2.0
JUSTIFICATIONS = {
    "component_not_present", "vulnerable_code_not_present", "vulnerable_code_not_in_execute_path",
    "vulnerable_code_cannot_be_controlled_by_adversary", "inline_mitigations_already_exist",
}


def workflows() -> dict[str, dict]:
    """Returns all workflows by file name."""
    return {path.name: yaml.safe_load(path.read_text()) for path in sorted(WORKFLOWS.glob("*.yml"))}


def commands(job: dict) -> str:
    """Returns the commands of all steps of a job."""
    return "\n".join(step.get("run", "") for step in job["steps"])


def check_pins() -> None:
    """Checks that each action is pinned to one commit with its tag in a comment, and each image to a digest."""
    pins, images = {}, []
    for path in WORKFLOWS.glob("*.yml"):
        for used, comment in re.findall(r"^\s*(?:- )?uses: *(\S+)(.*)$", path.read_text(), re.M):
            action, _, commit = used.partition("@")
            assert re.fullmatch(r"[0-9a-f]{40}", commit), f"{path.name}: {used} is not a commit"
            assert re.fullmatch(r" # v\d+\.\d+\.\d+", comment), f"{path.name}: {used} lacks its tag"
            assert pins.setdefault(action, (commit, comment)) == (commit, comment), f"{path.name}: another {action}"
    assert len(pins) >= 10, f"the actions were read: {pins}"
    for name, workflow in workflows().items():
        for job in workflow["jobs"].values():
            container = job.get("container", {})
            image = container if isinstance(container, str) else container.get("image")
            images += [(name, image)] if image else []
    known = stages()
    images += [("Dockerfile", image) for image, _ in known.values() if image not in known]
    assert len(images) >= 6, f"the images were read: {images}"
    for place, image in images:
        assert re.fullmatch(r"\S+:\S+@sha256:[0-9a-f]{64}", image), f"{place}: {image} has no digest"


def check_jobs() -> None:
    """Checks that each job has a timeout and only the permissions that it names, and that tests in a container can use git."""
    for name, workflow in workflows().items():
        assert workflow["permissions"] == {"contents": "read"}, name
        for job, content in workflow["jobs"].items():
            assert isinstance(content.get("timeout-minutes"), int), f"{name}: {job} has no timeout-minutes"
            if "container" in content and re.search(r"(\.ci|tests)(/\S+)?/run\b", commands(content)):
                # otherwise, git and `go build` refuse the directory
                trusted = 'git config --global --add safe.directory "$PWD"\n'
                assert trusted in commands(content).partition("/run")[0], f"{name}: {job} lacks {trusted}"


def check_publication() -> None:
    """Checks that a release needs all other jobs and a nightly run of its commit that includes the upgrade test."""
    all_workflows = workflows()
    jobs = all_workflows["release.yml"]["jobs"]
    publish = jobs["publish"]
    assert set(publish["needs"]) == jobs.keys() - {"publish"}, "publish needs all other jobs"
    condition = "needs.version.outputs.publish == 'true'"
    assert (publish["if"], jobs["nightly"]["if"]) == (condition, condition)
    nightly = commands(jobs["nightly"])
    for part in ("actions/workflows/nightly.yml/runs?", "head_sha=$GITHUB_SHA", "status=success", "exit 1"):
        assert part in nightly, f"the job nightly lacks {part}"
    find = """tests/upgrade/binary "$(awk 'END { print $1 }' tests/upgrade/releases)" --find\n"""
    everything = all_workflows["nightly.yml"]["jobs"]["everything"]
    assert find + "tests/run --all" in commands(everything) and find + ".ci/run" in commands(jobs["gate"])
    gate = (ROOT / "tests" / "run").read_text()
    assert 'background "upgrade" tests/upgrade/run "$before" "$WITAN_BIN" $all_flag' in gate
    assert 'step "upgrade" ended "upgrade"' in gate
    for part in ("attest-build-provenance", "cosign-installer"):
        assert any(part in step.get("uses", "") for step in publish["steps"]), part
    attested = [step["with"] for step in publish["steps"] if "attest-build-provenance" in step.get("uses", "")]
    names = {one.get("subject-name", one.get("subject-path")) for one in attested}
    assert names == {"release/*", *(f"${{{{ env.REGISTRY }}}}/{name}" for name in ("witan", "witan-operator", "etcd"))}, names
    for part in ("sha256sum", "cosign sign-blob", "cosign sign --yes --recursive", str(VEX.relative_to(ROOT)), "deploy/release-notes \"$VERSION\""):
        assert part in commands(publish), f"publish lacks {part}"


def check_compiled_once(folder: pathlib.Path) -> None:
    """Checks that one job compiles, another one compiles again for comparison, and images contain the files of the first."""
    jobs = workflows()["release.yml"]["jobs"]
    assert {name for name, job in jobs.items() if "deploy/build" in commands(job)} == {"programs", "again"}
    assert not any("cargo build" in commands(job) for job in jobs.values())
    compared = commands(jobs["again"])
    for program in ("witan", "witan-operator"):
        assert f"cmp out/{program} again/{program}" in compared, program
    # the stages that provide files of the images, and these files
    copied = {}
    for _, lines in stages().values():
        for stage, source in re.findall(r"^COPY --from=(\S+) (?:--\S+ )?(\S+) ", "\n".join(lines), re.M):
            copied.setdefault(stage, set()).add(source)
    copied.pop("plan")
    build = next(step["with"] for step in jobs["images"]["steps"] if "build-push-action" in step.get("uses", ""))
    assert dict(line.split("=") for line in build["build-contexts"].split()) == dict.fromkeys(copied, "image")
    assert set(copied) == {"build", "notices", "etcdctl"}, copied
    # the commands of the job, with files instead of the programs
    (folder / "programs").mkdir()
    (folder / "notices").mkdir()
    for name in ("witan", "witan-operator", "etcdctl"):
        (folder / "programs" / name).write_text(name)
        (folder / "notices" / name).write_text(name)
    (folder / "deploy").symlink_to(ROOT / "deploy")
    script = next(step["run"] for step in jobs["programs"]["steps"] if step.get("name") == "the files of the images")
    subprocess.run(["bash", "-ec", script], cwd=folder, check=True)
    for source in set().union(*copied.values()):
        assert (folder / "image" / source.lstrip("/")).exists(), f"no {source} for the images"
    assert (folder / "image/out/etcd/usr/bin/etcdutl").readlink() == pathlib.Path("../local/bin/etcdutl")
    assert (folder / "image/out/etcd/usr/local/bin/etcd").read_text() == "witan"


def check_notices() -> None:
    """Checks that each artifact contains the third-party licenses, and that all of them are allowed."""
    about = tomllib.loads((ROOT / "about.toml").read_text())
    deny = tomllib.loads((ROOT / "deny.toml").read_text())
    assert sorted(about["accepted"]) == sorted(deny["licenses"]["allow"])
    assert about["targets"] == deny["graph"]["targets"]
    tool = re.search(r"cargo install .* cargo-about", DOCKERFILE.read_text()).group()
    programs = commands(workflows()["release.yml"]["jobs"]["programs"])
    for part in (tool, f'> "dist/$ARCHIVE/{NOTICES}"', f'"dist/$PLUGIN/{NOTICES}"', "deploy/etcd/pack programs/witan programs/etcdctl notices/etcd "):
        assert part in programs, f"the job programs lacks {part}"
    assert f'"$work/$name/{NOTICES}"' in (deploy.DEPLOY / "etcd" / "pack").read_text()
    package = yaml.safe_load((deploy.DEPLOY / "etcd" / "nfpm.yaml").read_text())
    assert any(one["src"] == f"programs/{NOTICES}" for one in package["contents"])
    plugin = yaml.safe_load((deploy.DEPLOY / "krew" / "witan.yaml").read_text().replace("@VERSION@", "1.2.3"))
    assert all({"from": f"*/{NOTICES}", "to": "."} in one["files"] for one in plugin["spec"]["platforms"])
    for target in ("server", "operator", "etcd"):
        assert any(line.endswith(f" /usr/share/doc/witan/{NOTICES}") for line in stages()[target][1]), target
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    for path in ("about.toml", "about.hbs", "deploy/notices", "deploy/image"):
        assert f"!{path}" in ignored, f"{path} is missing in the context"


def check_vex() -> None:
    """Checks that each statement names a crate of Cargo.lock and its test, and that deny.toml has the same vulnerabilities."""
    vex = json.loads(VEX.read_text())
    assert vex["@context"] == "https://openvex.dev/ns/v0.2.0" and vex["version"] >= 1 and vex["author"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", vex["timestamp"])
    packages = {(one["name"], one["version"]) for one in tomllib.loads((ROOT / "Cargo.lock").read_text())["package"]}
    for statement in vex["statements"]:
        name = statement["vulnerability"]["name"]
        assert statement["status"] == "not_affected", name
        assert statement["justification"] in JUSTIFICATIONS and statement["impact_statement"], name
        crates = {part["@id"] for product in statement["products"] for part in product["subcomponents"]}
        assert {product["@id"].partition("?")[0] for product in statement["products"]} == {"pkg:cargo/witan", "pkg:oci/witan", "pkg:oci/etcd"}, name
        for crate in crates:
            found = re.fullmatch(r"pkg:cargo/([^@]+)@(.+)", crate)
            assert found and found.groups() in packages, f"{name}: {crate} is not in Cargo.lock"
        test = re.fullmatch(r"Test: (\S+) (\w+)", statement["status_notes"])
        assert test, f"{name} names no test"
        source = (ROOT / test.group(1)).read_text()
        assert re.search(rf"#\[test\]\s+fn {test.group(2)}\(\)", source), f"{name}: {test.group(1)} has no test {test.group(2)}"
    names = [statement["vulnerability"]["name"] for statement in vex["statements"]]
    assert "CVE-2026-25537" in names, names
    ignored = tomllib.loads((ROOT / "deny.toml").read_text())["advisories"]["ignore"]
    vulnerable = {one["id"] for one in ignored if "is unmaintained" not in one["reason"]}
    assert vulnerable == {name for name in names if name.startswith("RUSTSEC-")}, f"{vulnerable} and {names}"


def check_notes() -> None:
    """Checks that the notes are the section of the version, with links to files of that version."""
    version = tomllib.loads((ROOT / "Cargo.toml").read_text())["workspace"]["package"]["version"]
    sections = re.split(r"^## (.+)\n", (ROOT / "CHANGELOG.md").read_text(), flags=re.M)
    section = dict(zip(sections[1::2], sections[2::2]))[version]
    wanted = re.sub(r"\]\((?!\w+:)", f"](https://github.com/witan/witan/blob/v{version}/", section.strip("\n")) + "\n"
    code, said = said_by(str(NOTES), version)
    assert code == 0 and said == wanted, said
    assert len(said) > 500 and "](docs/" not in said and "\n## " not in said, said
    for other in ("9.9.9", version[:-1]):
        code, said = said_by(str(NOTES), other)
        assert code != 0 and "has no section" in said, f"{other}: {said}"


def check_names() -> None:
    """Checks that titles and descriptions name an artifact "Witan, compatible with etcd", not "etcd"."""
    titles = {}
    for name, (_, lines) in stages().items():
        labels = dict(re.findall(r'org\.opencontainers\.image\.(\w+)="([^"]*)"', "\n".join(lines)))
        if labels:
            titles[name] = labels["title"]
            assert PRODUCT in labels["description"], name
    assert titles == {"server": "witan", "operator": "witan-operator", "etcd": "witan"}, titles
    for path in deploy.CHARTS.glob("*/Chart.yaml"):
        assert PRODUCT in yaml.safe_load(path.read_text())["description"], path
    package = yaml.safe_load((deploy.DEPLOY / "etcd" / "nfpm.yaml").read_text())
    assert package["description"].startswith(PRODUCT + "\n")
    assert f"Description={PRODUCT}\n" in (deploy.DEPLOY / "etcd" / "etcd.service").read_text()


def run(report) -> None:
    """Runs all cases of this file."""
    with report.case("actions and images are pinned"):
        check_pins()
    with report.case("each job has a timeout and only the named permissions"):
        check_jobs()
    with report.case("a release needs all jobs and a nightly run"):
        check_publication()
    with report.case("a release compiles once and compares"), tempfile.TemporaryDirectory() as folder:
        check_compiled_once(pathlib.Path(folder))
    with report.case("each artifact contains the third-party licenses"):
        check_notices()
    with report.case("the VEX document names crates and tests"):
        check_vex()
    with report.case("release notes are the section of the version"):
        check_notes()
    with report.case("descriptions name the product"):
        check_names()
