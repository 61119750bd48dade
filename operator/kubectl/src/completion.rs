//! Completes command lines. kubectl runs `kubectl_complete-witan` with the words of the line and reads one candidate per line.

use clap::{Arg, Command};

/// The directive at the end of the output that prevents the completion of file names.
const NO_FILES: &str = ":4\n";

/// Returns the candidates for the last word, one line each, and the directive.
pub(super) fn answer(mut line: Command, words: &[String]) -> String {
    line.build();
    let (last, before) = words
        .split_last()
        .map_or(("", words), |(last, before)| (&**last, before));
    let mut answer = String::new();
    for (name, about) in candidates(&line, before, last) {
        let about = about.lines().next().unwrap_or_default();
        answer += &format!("{name}\t{about}\n");
    }
    answer + NO_FILES
}

/// Returns the commands, flags or flag values that begin with `last`, each with its description.
fn candidates(line: &Command, before: &[String], last: &str) -> Vec<(String, String)> {
    let mut command = line;
    // The flag whose value is the next word.
    let mut open: Option<&Arg> = None;
    for word in before {
        if open.take().is_some() {
            continue;
        }
        if word.starts_with('-') {
            open = flag(command, word);
        } else if let Some(found) = command.find_subcommand(word) {
            command = found;
        }
    }
    let about =
        |text: Option<&clap::builder::StyledStr>| text.map(ToString::to_string).unwrap_or_default();
    let mut all: Vec<(String, String)> = match open {
        Some(flag) => {
            let values = flag.get_possible_values();
            let values = values.iter().filter(|value| !value.is_hide_set());
            values
                .map(|value| (value.get_name().to_owned(), about(value.get_help())))
                .collect()
        }
        None if last.starts_with('-') => {
            let flags = command.get_arguments().filter(|flag| !flag.is_hide_set());
            let long = flags.filter_map(|flag| {
                Some((format!("--{}", flag.get_long()?), about(flag.get_help())))
            });
            long.collect()
        }
        None => {
            let commands = command
                .get_subcommands()
                .filter(|command| !command.is_hide_set());
            commands
                .map(|command| (command.get_name().to_owned(), about(command.get_about())))
                .collect()
        }
    };
    all.retain(|(name, _)| name.starts_with(last));
    all
}

/// Returns the flag that a word names if the flag takes a value from the next word.
fn flag<'a>(command: &'a Command, word: &str) -> Option<&'a Arg> {
    let mut flags = command.get_arguments();
    let found = flags.find(|flag| {
        let long = flag
            .get_long()
            .is_some_and(|long| word == format!("--{long}"));
        long || flag
            .get_short()
            .is_some_and(|short| word == format!("-{short}"))
    });
    found.filter(|flag| flag.get_action().takes_values())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;
    use crate::command::PluginLine;

    fn names(line: &str) -> Vec<String> {
        let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
        let answer = answer(PluginLine::command(), &words);
        let candidates = answer.strip_suffix(NO_FILES).expect("the directive");
        let name = |line: &str| line.split('\t').next().unwrap_or_default().to_owned();
        candidates.lines().map(name).collect()
    }

    #[test]
    fn commands_flags_and_values_are_candidates() {
        assert!(names("").contains(&"move-leader".to_owned()));
        assert_eq!(names("sta"), ["status"]);
        assert_eq!(
            names("-n status sta"),
            ["status"],
            "the value of a flag is not a command"
        );
        assert_eq!(names("status --all"), ["--all-namespaces"]);
        assert_eq!(names("status orders --names"), ["--namespace"]);
        assert!(names("status -o ").contains(&"json".to_owned()));
        assert_eq!(names("status orders "), [""; 0]);
    }
}
