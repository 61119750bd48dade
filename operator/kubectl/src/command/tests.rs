//! Tests which command lines are accepted and refused.

use clap::CommandFactory as _;

use super::*;

fn parse(line: &str) -> Result<PluginLine, clap::Error> {
    PluginLine::try_parse_from(["kubectl-witan"].into_iter().chain(line.split(' ')))
}

#[test]
fn flags_are_consistent() {
    PluginLine::command().debug_assert();
}

#[test]
fn contradictory_flags_are_refused() {
    for line in [
        "backup orders",
        "restore again",
        "restore again --from nightly --yes",
        "restore again --from nightly --wait",
        "restore orders --in-place",
        "restore orders --undo --from nightly",
        "restore orders --undo --in-place",
        "restore orders --undo --bump-revision 5",
        "restore orders --from nightly --to-time noon",
        "restore orders --from nightly --to-time 2026-01-31T12:00:00Z --to-revision 5",
        "recover orders orders-1 --cacert a",
        "top orders --user root",
        "top",
        "history /a",
        "diff /a@7",
        "revert /a@7",
        "diff orders /a",
        "diff orders /a@0",
        "revert orders @5",
    ] {
        assert!(parse(line).is_err(), "{line}");
    }
}

#[test]
fn commands_are_read() {
    for line in [
        "status orders -o json",
        "backup orders --like daily --verify --wait",
        "restore again --from nightly --dry-run",
        "restore again --from nightly --to-time 2026-01-31T12:00:00Z",
        "restore orders --from nightly --in-place --to-revision 9 --bump-revision 1000 --yes --wait",
        "restore orders --undo --wait",
        "move-leader orders orders-1 --wait",
        "recover orders orders-1 --yes --wait",
        "top orders --prefix /registry",
        "top orders --rows 5 -o yaml",
        "revert orders /a@7 --yes",
        "top orders --endpoints 10.0.0.1:2379",
        "diff orders /a@7 --endpoints https://10.0.0.1:2379 --cacert a --cert b --key c",
    ] {
        assert!(parse(line).is_ok(), "{line}");
    }
    let at: PrefixAt = "/a@b/@7".parse().unwrap();
    assert_eq!(at, PrefixAt { prefix: "/a@b/".to_owned(), revision: 7 });
}
