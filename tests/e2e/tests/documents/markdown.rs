//! Splits a page into its blocks. A block of commands is fenced and has the language `sh`. A comment in the line before the
//! fence marks special blocks:
//!
//! - `<!-- run: server -->`: starts a member, which serves until the next such block or the end;
//! - `<!-- run: until output -->`: one command that does not end; it is stopped as soon as it has
//!   printed the block of output after it;
//! - `<!-- fails with: TEXT -->`: the block must fail and print this;
//! - `<!-- not run: REASON -->`: the block cannot be run by a test;
//! - `<!-- output -->` before a block of `text`: lines that the commands before it print, in order; of a line that begins and
//!   ends with `…`, only the text between them must be printed.

const OTHERS: [&str; 5] = ["text", "yaml", "ini", "json", "promql"];
const REASON_MIN: usize = 3;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Mark {
    Run,
    Server,
    UntilOutput,
    Fails(String),
    NotRun,
    Output,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Block {
    pub(crate) line: usize,
    pub(crate) mark: Mark,
    pub(crate) text: String,
}

/// Returns the blocks with commands or output. Fails for indented code, an unclosed fence, or an unknown language or mark.
pub(crate) fn blocks(page: &str) -> Result<Vec<Block>, String> {
    let mut found = Vec::new();
    let mut before = "";
    let mut lines = page.lines().enumerate();
    while let Some((at, line)) = lines.next() {
        let Some(language) = line.strip_prefix("```") else {
            if line.starts_with("    ") {
                let line = at + 1;
                return Err(format!("line {line}: fence the code and name its language"));
            }
            before = line;
            continue;
        };
        let mut text = String::new();
        loop {
            match lines.next() {
                Some((_, "```")) => break,
                Some((_, line)) => text.extend([line, "\n"]),
                None => return Err(format!("line {}: the fence is not closed", at + 1)),
            }
        }
        let mark = mark(language, before).map_err(|error| format!("line {}: {error}", at + 1))?;
        before = "";
        found.extend(mark.map(|mark| Block { line: at + 1, mark, text }));
    }
    Ok(found)
}

/// Returns the mark of a block with this language after the line `before`, or `None` if the block contains no commands.
fn mark(language: &str, before: &str) -> Result<Option<Mark>, String> {
    let comment = before
        .strip_prefix("<!-- ")
        .and_then(|rest| rest.strip_suffix(" -->"));
    let reason = |rest: &str| rest.trim().len() >= REASON_MIN;
    match (language, comment) {
        ("sh", None) => Ok(Some(Mark::Run)),
        ("sh", Some("run: server")) => Ok(Some(Mark::Server)),
        ("sh", Some("run: until output")) => Ok(Some(Mark::UntilOutput)),
        ("sh", Some(comment)) => match comment.split_once(": ") {
            Some(("not run", rest)) if reason(rest) => Ok(Some(Mark::NotRun)),
            Some(("fails with", rest)) if reason(rest) => Ok(Some(Mark::Fails(rest.to_owned()))),
            _ => Err(format!(
                "unknown mark, or a mark without a reason: {comment}"
            )),
        },
        ("text", Some("output")) => Ok(Some(Mark::Output)),
        (language, _) if OTHERS.contains(&language) => Ok(None),
        _ => Err(format!("unknown language of a block: {language:?}")),
    }
}
