//! Runs the blocks of a page in one shell, in a separate directory and on separate ports. `curl` also fails for an error
//! response.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::Path,
    process::{Command, Stdio},
};

use witan_e2e::{Folder, Kind, binaries, ports};

use super::markdown::{Block, Mark};

const SECONDS_MAX: &str = "120";

/// Beginning of the line that the shell prints before each block.
const BLOCK: &str = "@@@ block ";

const HEAD: &str = r#"
set -euo pipefail
member= shell=
stop_member() {
    [ -z "$member" ] || kill "$(cat "$SESSION/pid")" 2>/dev/null || :
    [ -z "$shell" ] || wait "$shell" 2>/dev/null || :
    member= shell=
}
trap 'stop_member; kill $(jobs -p) 2>/dev/null || :' EXIT
start_member() {
    stop_member
    : >"$SESSION/pid" >"$1.log"
    bash -eu "$1" >"$1.log" 2>&1 &
    shell=$! member=yes
    for _ in $(seq 300); do
        grep -q 'ready to serve client requests' "$1.log" && return
        kill -0 $shell 2>/dev/null || break
        sleep 0.1
    done
    echo "the member did not become ready:"
    cat "$1.log"
    exit 1
}
# runs a command until its output has all lines of a file
until_output() {
    bash -c "exec $(cat "$1")" >"$1.log" 2>&1 &
    local command=$! missing line part how
    for _ in $(seq 300); do
        missing=
        while IFS= read -r line; do
            part=${line#…} part=${part%…}
            [ "$part" = "$line" ] && how=-qxF || how=-qF
            grep $how -- "$part" "$1.log" || missing=yes
        done <"$2"
        [ -n "$missing" ] && kill -0 $command 2>/dev/null || break
        sleep 0.1
    done
    kill $command 2>/dev/null || :
    wait $command || :
    cat "$1.log"
}
# ends the session unless a block failed as expected: exit code, output, text
expect_failure() {
    cat "$2"
    [ "$1" -ne 0 ] || { echo "it succeeded"; exit 1; }
    grep -qF -- "$3" "$2" || { echo "it failed without printing: $3"; exit 1; }
}
await_jobs() {
    local job
    for job in $(jobs -p); do
        [ "$job" = "$shell" ] || wait "$job" || { echo "a command in the background failed"; exit 1; }
    done
}
"#;

/// A wrapper of the program. It passes the session's ports to a member unless the command contains ports. It records the process
/// id.
const WITAN: &str = r#"#!/bin/sh
case " $* " in
*" snapshot "* | *" replay "* | *" --version "* | *" --help "*) exec "$WITAN" "$@" ;;
*" --listen-client-urls"* | *" --config-file"*) ;;
*) set -- "$@" --listen-client-urls "http://localhost:$PORT" --advertise-client-urls "http://localhost:$PORT" ;;
esac
case " $* " in
*" --listen-peer-urls"* | *" --config-file"*) ;;
*) set -- "$@" --listen-peer-urls "http://localhost:$PEER_PORT" ;;
esac
echo $$ >"$SESSION/pid"
exec "$WITAN" "$@"
"#;

const ETCDCTL: &str = r#"#!/bin/sh
[ "${ETCDCTL_API:-3}" = 2 ] && exec "$TOOLS/etcdctl34" "$@"
exec "$TOOLS/etcdctl36" "$@"
"#;

const ETCDUTL: &str = "#!/bin/sh\nexec \"$TOOLS/etcdutl36\" \"$@\"\n";

const CURL: &str =
    "#!/bin/sh\nexec \"$CURL\" --fail-with-body --silent --show-error --max-time 60 \"$@\"\n";

/// Returns the script's lines for a block, or `None` for a block that is not run. `file` contains the block's text, and `next`
/// contains the next block's text.
fn step(mark: &Mark, text: &str, file: &Path, next: &Path) -> Option<String> {
    let (file, next) = (file.display(), next.display());
    match mark {
        Mark::Run => Some(format!("{text}await_jobs\n")),
        Mark::Server => Some(format!("start_member {file}\n")),
        Mark::UntilOutput => Some(format!("until_output {file} {next}\n")),
        Mark::Fails(said) => Some(format!(
            "set +e; (set -e\n{text}) >{file}.log 2>&1; code=$?; set -e\nexpect_failure $code {file}.log '{said}'\n"
        )),
        Mark::NotRun | Mark::Output => None,
    }
}

/// Runs the blocks of a page. Fails with the session's output if a command fails or an expected line is missing.
pub(crate) fn run(page: &str, blocks: &[Block]) -> Result<(), String> {
    let dir = Folder::new("page");
    let ports = [
        ("2379", ports::free()),
        ("2380", ports::free()),
        ("2381", ports::free()),
    ];
    let own = |text: &str| {
        let replace =
            |text: String, (usual, own): &(&str, u16)| text.replace(usual, &own.to_string());
        ports.iter().fold(text.to_owned(), replace)
    };
    lay_out(&dir, &own);
    let mut script = HEAD.to_owned();
    for (at, block) in blocks.iter().enumerate() {
        let file = dir.join(format!("session/{at}.sh"));
        let next = dir.join(format!("session/{}.sh", at + 1));
        let text = own(&block.text);
        fs::write(&file, &text).expect("the folder is writable");
        let Some(run) = step(&block.mark, &text, &file, &next) else {
            continue;
        };
        script.push_str(&format!("echo '{BLOCK}{page}:{}'\n{run}", block.line));
    }
    let curl = Command::new("sh")
        .args(["-c", "command -v curl"])
        .output()
        .expect("every machine has sh");
    let output = Command::new("timeout")
        .args([SECONDS_MAX, "bash", "-c", &format!("exec 2>&1\n{script}")])
        .current_dir(dir.join("work"))
        .env_clear()
        .env(
            "PATH",
            format!(
                "{}:{}",
                dir.join("bin").display(),
                std::env::var("PATH").unwrap_or_default()
            ),
        )
        .env("HOME", dir.join("work"))
        .env("SESSION", dir.join("session"))
        .env("WITAN", Kind::Witan.binary())
        .env("PORT", ports[0].1.to_string())
        .env("PEER_PORT", ports[1].1.to_string())
        .env(
            "TOOLS",
            binaries::cached("etcdctl36", "tests/tools/etcd.sh 36")
                .parent()
                .expect("a folder"),
        )
        .env("CURL", String::from_utf8_lossy(&curl.stdout).trim())
        .env(
            "ETCDCTL_ENDPOINTS",
            format!("http://localhost:{}", ports[0].1),
        )
        .stdin(Stdio::null())
        .output()
        .expect("bash and timeout are installed");
    let said = String::from_utf8_lossy(&output.stdout);
    if !output.status.success() {
        return Err(format!("{}\n{said}", output.status));
    }
    compare(page, blocks, &own, &said)
}

/// Installs the programs under their usual names and the repository's files that pages use.
fn lay_out(dir: &Path, own: &dyn Fn(&str) -> String) {
    for folder in [
        "bin",
        "session",
        "work/target/release",
        "work/deploy/systemd",
    ] {
        fs::create_dir_all(dir.join(folder)).expect("the temporary folder is writable");
    }
    let programs = [
        ("bin/witan", WITAN),
        ("work/target/release/witan", WITAN),
        ("bin/etcdctl", ETCDCTL),
        ("bin/etcdutl", ETCDUTL),
        ("bin/curl", CURL),
    ];
    for (path, text) in programs {
        let path = dir.join(path);
        fs::write(&path, text).expect("the folder is writable");
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("the file is ours");
    }
    for folder in ["deploy", "deploy/systemd"] {
        let files = fs::read_dir(binaries::root().join(folder)).expect("the folder is there");
        for file in files
            .map(|file| file.expect("the folder is readable").path())
            .filter(|path| path.is_file())
        {
            let name = file.file_name().expect("a file has a name");
            let text = fs::read_to_string(&file).expect("the files of deploy are text");
            fs::write(dir.join("work").join(folder).join(name), own(&text))
                .expect("the folder is writable");
        }
    }
}

/// Checks that the block before each output block printed its lines in order.
fn compare(
    page: &str,
    blocks: &[Block],
    own: &dyn Fn(&str) -> String,
    said: &str,
) -> Result<(), String> {
    for pair in blocks
        .windows(2)
        .filter(|pair| pair[1].mark == Mark::Output)
    {
        let mark = format!("{BLOCK}{page}:{}\n", pair[0].line);
        let (_, printed) = said
            .split_once(&mark)
            .ok_or("the block before an output is not run")?;
        let printed = printed.split(BLOCK).next().unwrap_or_default();
        let mut rest = printed.lines();
        for line in own(&pair[1].text).lines() {
            let part = line.trim_matches('…');
            let alike = |own: &str| match part == line {
                true => own.trim_end() == line.trim_end(),
                false => own.contains(part),
            };
            if !rest.any(alike) {
                return Err(format!(
                    "line {}: {line:?} is not in the output:\n{printed}",
                    pair[1].line
                ));
            }
        }
    }
    Ok(())
}
