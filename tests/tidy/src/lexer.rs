//! Just enough of Rust's lexical rules to tell code from comments and literals.

/// Blanks comments and the insides of string and character literals; keeps every line break, so
/// that line numbers stay.
pub fn code_only(text: &str) -> String {
    let mut scan = Scan {
        chars: text.chars().collect(),
        at: 0,
        out: String::new(),
    };
    while let Some(c) = scan.peek(0) {
        match c {
            '/' if scan.peek(1) == Some('/') => scan.line_comment(),
            '/' if scan.peek(1) == Some('*') => scan.block_comment(),
            '"' => scan.string(),
            'r' if scan.begins_raw_string() => scan.raw_string(),
            '\'' => scan.quote(),
            _ => scan.keep(),
        }
    }
    scan.out
}

/// Name, line number (from 1) and lines of code of every function with a body. `code` comes from
/// [`code_only`], so comments do not count.
pub fn functions(code: &str) -> Vec<(String, usize, usize)> {
    let mut found = Vec::new();
    let bytes = code.as_bytes();
    for (at, _) in code.match_indices("fn ") {
        let word = at == 0 || !(bytes[at - 1].is_ascii_alphanumeric() || bytes[at - 1] == b'_');
        let rest = &code[at + 3..];
        let name: String = rest
            .chars()
            .take_while(|c| c.is_ascii_alphanumeric() || *c == '_')
            .collect();
        if !word || name.is_empty() {
            continue;
        }
        if let Some(length) = body_end(rest) {
            let first = code[..at].matches('\n').count() + 1;
            let lines = rest[..length]
                .lines()
                .filter(|line| !line.trim().is_empty())
                .count();
            found.push((name, first, lines));
        }
    }
    found
}

/// Where the body of a function ends whose signature begins `text`; `None` without a body.
fn body_end(text: &str) -> Option<usize> {
    let mut depth = 0_usize;
    let mut parens = 0_i32;
    for (at, c) in text.char_indices() {
        match c {
            '(' | '[' => parens += 1,
            ')' | ']' => parens -= 1,
            ';' if depth == 0 && parens == 0 => return None,
            '{' => depth += 1,
            '}' => {
                depth = depth.checked_sub(1)?;
                if depth == 0 {
                    return Some(at + 1);
                }
            }
            _ => {}
        }
    }
    None
}

struct Scan {
    chars: Vec<char>,
    at: usize,
    out: String,
}

impl Scan {
    fn peek(&self, ahead: usize) -> Option<char> {
        self.chars.get(self.at + ahead).copied()
    }

    fn keep(&mut self) {
        self.out.extend(self.peek(0));
        self.at += 1;
    }

    fn blank(&mut self) {
        self.out.push(if self.peek(0) == Some('\n') {
            '\n'
        } else {
            ' '
        });
        self.at += 1;
    }

    fn line_comment(&mut self) {
        while self.peek(0).is_some_and(|c| c != '\n') {
            self.blank();
        }
    }

    fn block_comment(&mut self) {
        let mut depth = 0_usize;
        while self.peek(0).is_some() {
            if self.peek(0) == Some('/') && self.peek(1) == Some('*') {
                depth += 1;
                self.blank();
            } else if self.peek(0) == Some('*') && self.peek(1) == Some('/') {
                depth -= 1;
                self.blank();
            }
            self.blank();
            if depth == 0 {
                return;
            }
        }
    }

    fn string(&mut self) {
        self.keep();
        while let Some(c) = self.peek(0) {
            match c {
                '"' => return self.keep(),
                '\\' => {
                    self.blank();
                    self.blank();
                }
                _ => self.blank(),
            }
        }
    }

    fn begins_raw_string(&self) -> bool {
        let before = self.at.checked_sub(1).map(|at| self.chars[at]);
        // br"..." too; but not the end of a name
        if before.is_some_and(|c| (c.is_alphanumeric() && c != 'b') || c == '_') {
            return false;
        }
        let mut ahead = 1;
        while self.peek(ahead) == Some('#') {
            ahead += 1;
        }
        self.peek(ahead) == Some('"')
    }

    fn raw_string(&mut self) {
        self.keep();
        let mut marks = 0;
        while self.peek(0) == Some('#') {
            marks += 1;
            self.keep();
        }
        self.keep();
        while self.peek(0).is_some() {
            let closes =
                self.peek(0) == Some('"') && (1..=marks).all(|ahead| self.peek(ahead) == Some('#'));
            if closes {
                for _ in 0..=marks {
                    self.keep();
                }
                return;
            }
            self.blank();
        }
    }

    /// A character literal is blanked; a lifetime is kept.
    fn quote(&mut self) {
        let escaped = self.peek(1) == Some('\\');
        self.keep();
        if escaped {
            self.blank();
            self.blank();
            while self.peek(0).is_some_and(|c| c != '\'') {
                self.blank();
            }
            self.keep();
        } else if self.peek(1) == Some('\'') {
            self.blank();
            self.keep();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{code_only, functions};

    #[test]
    fn blanks_comments_and_literals_and_keeps_lines() {
        let text =
            "let a = \"// no { \\\" \"; // sleep(\n/* b /* c */\n */ let d = 'x'; '{' fn<'a>";
        let code = code_only(text);
        assert_eq!(code.lines().count(), text.lines().count());
        assert!(
            !code.contains("sleep") && !code.contains('{') && !code.contains('b'),
            "{code}"
        );
        assert!(code.contains("let d") && code.contains("fn<'a>"), "{code}");
    }

    #[test]
    fn blanks_raw_strings() {
        let code = code_only("x(r#\"a \"sleep(\" b\"#, br\"{\", var\"{\")");
        assert!(!code.contains("sleep") && !code.contains('{'), "{code}");
    }

    #[test]
    fn measures_functions() {
        let code = "trait T {\n  fn none(&self) -> [u8; 4];\n}\nfn two() {\n}\nasync fn four(\n) {\n  {}\n}\n";
        let found = functions(code);
        assert_eq!(found, [("two".into(), 4, 2), ("four".into(), 6, 4)]);
    }
}
