//! `witan replay` executes a recording with this program's core and shows each turn.

use std::io;

use serde_json::json;
use witan_base::panics::UnwindScope;
use witan_machine::{levels, member::MemberId};
use witan_recorder::{Replayed, ShownTurn, Verdict, replay as execute};

use super::{arguments::ReplayArguments, error::OfflineError};

type Form = fn(&ShownTurn<'_>) -> String;

/// Replays the recordings in a file or directory, writes the turns from `--from` to `--to` to `out` and returns the results.
/// Fails if an effect differs, if a turn could only be shown, or if a recording has a fault.
pub(super) fn replay(
    arguments: &ReplayArguments,
    out: &mut dyn io::Write,
) -> Result<String, OfflineError> {
    let form: Form = match arguments.write_out.as_str() {
        "simple" => simple,
        "json" => json_line,
        _ => return Err(OfflineError::Format),
    };
    let mut written = Ok(());
    // Report a panic of the core as a result.
    let _scope = UnwindScope::begin();
    let replayed = execute(&arguments.recording, levels::OWN, &mut |turn| {
        if written.is_ok() && (arguments.from..=arguments.to).contains(&turn.number) {
            written = out.write_all(form(turn).as_bytes());
        }
    })?;
    written.map_err(OfflineError::Output)?;
    let equal = |it: &Replayed| it.verdict == Verdict::Reproduced && it.faults.is_empty();
    let said: String = replayed.iter().map(result).collect();
    match replayed.iter().all(equal) {
        true => Ok(said),
        false => Err(OfflineError::NotReproduced(said.trim_end().to_owned())),
    }
}

/// Returns the time of a turn in milliseconds since the process started to record.
fn since_ms(turn: &ShownTurn<'_>) -> i64 {
    turn.at_ns.saturating_sub(turn.head.began_ns) / 1_000_000
}

/// Formats a turn for `--write-out simple`: its number, its time and whether the replay differs, then a line for each input
/// (`>`) and effect (`<`).
fn simple(turn: &ShownTurn<'_>) -> String {
    let at = since_ms(turn);
    let mark = match turn.equal {
        Some(true) => "",
        Some(false) => ", DIFFERS",
        None => ", not executed",
    };
    let mut text = format!(
        "turn {} at +{}.{:03} s{mark}\n",
        turn.number,
        at / 1000,
        at % 1000
    );
    for input in &turn.inputs {
        text += &format!("  > {input}\n");
    }
    for effect in turn.effects {
        let outcome = match effect.outcome().as_str() {
            "" => String::new(),
            outcome => format!(": {outcome}"),
        };
        text += &format!("  < {}{outcome}\n", effect.text());
    }
    text
}

/// Formats a turn as one line of JSON, for `--write-out json`.
fn json_line(turn: &ShownTurn<'_>) -> String {
    let effects = turn.effects.iter();
    let effects: Vec<_> = effects
        .map(|effect| json!({"text": effect.text(), "outcome": effect.outcome()}))
        .collect();
    let line = json!({
        "member": MemberId(turn.head.member).to_string(),
        "turn": turn.number,
        "sinceMs": since_ms(turn),
        "inputs": turn.inputs,
        "effects": effects,
        "equal": turn.equal,
    });
    format!("{line}\n")
}

/// Formats the result of a replay in one line. Further lines list all effects of a turn that differs, and the faults of the
/// recording.
fn result(replayed: &Replayed) -> String {
    let Replayed { head, read, equal, .. } = replayed;
    let (member, began) = (MemberId(head.member), head.began_ns / 1_000_000_000);
    let mut text = format!(
        "member {member}, witan {}, recorded since Unix time {began}: ",
        head.version
    );
    match &replayed.verdict {
        Verdict::Reproduced => text += &format!("reproduced {equal} turns\n"),
        Verdict::Shown { why } => {
            text +=
                &format!("reproduced {equal} of {read} turns; other turns are only shown: {why}\n");
        }
        Verdict::Differs { turn, expected, got, whole } => {
            text += &format!("differs at turn {turn}; {equal} of {read} turns are equal\n");
            for (effects, whose) in [(expected, "recorded"), (got, "replayed")] {
                for effect in effects {
                    text += &format!("  {whose}: {} {}\n", effect.text(), effect.outcome());
                }
            }
            if !whole {
                text += "  the recording lacks earlier keys or values, which may be the cause\n";
            }
        }
    }
    for fault in replayed.faults.iter().chain(&replayed.cut) {
        text += &format!("  {fault}\n");
    }
    text
}
