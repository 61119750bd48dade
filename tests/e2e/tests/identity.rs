//! Data directories that are not what their file `identity` says, and copies that share the log of `--wal-dir`.

use std::{fs, path::Path, process::Command};

use witan_e2e::{Launch, Server, tool::witan};

/// The refusal of a start: its exit code and its last line.
fn refused(server: &mut Server) -> (Option<i32>, String) {
    server.start_unready_again();
    let status = server.wait_exit();
    (status.code(), server.tail())
}

/// What `witan info` says of a directory that it refuses.
fn info(data: &Path) -> String {
    let said = witan(&["info", &data.display().to_string()]);
    assert_ne!(said.code, Some(0), "{}", said.all());
    said.all()
}

fn cp(from: &Path, to: &Path) {
    let copied = Command::new("cp").arg("-a").arg(from).arg(to).status();
    assert!(copied.expect("cp runs").success());
}

#[test]
fn a_changed_or_cut_identity_is_refused_and_left_alone() {
    let mut server = Launch::witan().start();
    server.answers(201, "PUT", "/v2/keys/kept", "value=1");
    server.terminate();
    let data = server.dir().join("data");
    let file = data.join("member/identity");
    let whole = fs::read_to_string(&file).expect("text");
    let member = whole.find("member ").expect("a line") + "member ".len();
    let mut changed = whole.clone().into_bytes();
    changed[member + 3] ^= 1;
    for content in [changed, whole[..member + 4].into()] {
        fs::write(&file, &content).expect("a file");
        let (code, said) = refused(&mut server);
        assert_eq!(code, Some(23), "{said}");
        let of_info = info(&data);
        for said in [said, of_info] {
            assert!(said.contains("member/identity is damaged"), "{said}");
            assert!(!said.contains("was removed"), "{said}");
        }
        assert_eq!(fs::read(&file).expect("a file"), content);
    }
    fs::write(&file, whole).expect("a file");
    server.start_again();
    server.answers(200, "GET", "/v2/keys/kept", "");
}

#[test]
fn a_copy_with_a_link_to_the_log_of_its_original_is_refused() {
    let mut original = Launch::witan().arg("--wal-dir=wal").start();
    original.answers(201, "PUT", "/v2/keys/kept", "value=1");
    original.terminate();
    let mut copy = Launch::witan().prepare();
    let data = copy.dir().join("data");
    cp(&original.dir().join("data"), &data);
    let log = original.dir().join("wal/log");
    let of_log = |at: &Path| {
        let files = fs::read_dir(at).expect("the log");
        let mut found: Vec<_> = files
            .map(|file| file.expect("a file").path())
            .map(|path| (fs::read(&path).expect("its content"), path))
            .collect();
        found.sort();
        found
    };
    let before = of_log(&log);
    let etcd = copy.dir().join("etcd").display().to_string();
    let exported = witan(&[
        "export",
        "--data-dir",
        &data.display().to_string(),
        "--etcd",
        &etcd,
    ]);
    let (code, started) = refused(&mut copy);
    assert_eq!(code, Some(39), "{started}");
    for said in [started, info(&data), exported.all()] {
        assert!(said.contains("this directory is a copy"), "{said}");
    }
    assert_eq!(of_log(&log), before);
    // the flag alone does not take the log of a directory that is there
    copy.add_args([
        "--wal-dir".to_owned(),
        original.dir().join("wal").display().to_string(),
    ]);
    assert_eq!(refused(&mut copy).0, Some(39), "{}", copy.tail());
    assert_eq!(of_log(&log), before);
    original.start_again();
    original.answers(200, "GET", "/v2/keys/kept", "");
    original.terminate();
    // it moves to another disk
    fs::remove_dir_all(original.dir().join("data")).expect("its directory");
    copy.start_again();
    copy.answers(200, "GET", "/v2/keys/kept", "");
}
