//! Whether a text is JSON, and if not, why not in the words of Go's decoder.

/// Deeper nesting is refused, so that checking cannot exhaust the stack.
const DEPTH_MAX: usize = 256;
/// The text ends where more was to come.
const ENDED: &str = "unexpected end of JSON input";

/// `Ok` if `text` is one JSON value.
pub(crate) fn check(text: &[u8]) -> Result<(), String> {
    let mut scanner = Scanner { text, at: 0 };
    scanner.value(0)?;
    match scanner.peek() {
        None => Ok(()),
        Some(byte) => Err(unexpected(byte, "after top-level value")),
    }
}

/// `Ok` if `text` begins with one JSON value, as for a decoder that reads a stream of them.
pub(crate) fn check_first(text: &[u8]) -> Result<(), String> {
    let checked = Scanner { text, at: 0 }.value(0);
    checked.map_err(|fault| {
        if fault == ENDED {
            "unexpected EOF".into()
        } else {
            fault
        }
    })
}

struct Scanner<'a> {
    text: &'a [u8],
    at: usize,
}

impl Scanner<'_> {
    /// The next byte that is not white space.
    fn peek(&mut self) -> Option<u8> {
        while let Some(b' ' | b'\t' | b'\r' | b'\n') = self.text.get(self.at) {
            self.at += 1;
        }
        self.text.get(self.at).copied()
    }

    /// Takes the next byte that is not white space.
    fn token(&mut self) -> Result<u8, String> {
        let byte = self.peek().ok_or_else(ended)?;
        self.at += 1;
        Ok(byte)
    }

    /// Takes the very next byte.
    fn take(&mut self) -> Result<u8, String> {
        let byte = *self.text.get(self.at).ok_or_else(ended)?;
        self.at += 1;
        Ok(byte)
    }

    fn value(&mut self, depth: usize) -> Result<(), String> {
        if depth > DEPTH_MAX {
            return Err("exceeded max depth".into());
        }
        match self.token()? {
            b'{' => self.object(depth),
            b'[' => self.array(depth),
            b'"' => self.string(),
            b't' => self.literal("true"),
            b'f' => self.literal("false"),
            b'n' => self.literal("null"),
            first @ (b'-' | b'0'..=b'9') => self.number(first),
            byte => Err(unexpected(byte, "looking for beginning of value")),
        }
    }

    fn object(&mut self, depth: usize) -> Result<(), String> {
        if self.peek() == Some(b'}') {
            self.at += 1;
            return Ok(());
        }
        loop {
            match self.token()? {
                b'"' => self.string()?,
                byte => {
                    return Err(unexpected(
                        byte,
                        "looking for beginning of object key string",
                    ));
                }
            }
            match self.token()? {
                b':' => self.value(depth + 1)?,
                byte => return Err(unexpected(byte, "after object key")),
            }
            match self.token()? {
                b',' => {}
                b'}' => return Ok(()),
                byte => return Err(unexpected(byte, "after object key:value pair")),
            }
        }
    }

    fn array(&mut self, depth: usize) -> Result<(), String> {
        if self.peek() == Some(b']') {
            self.at += 1;
            return Ok(());
        }
        loop {
            self.value(depth + 1)?;
            match self.token()? {
                b',' => {}
                b']' => return Ok(()),
                byte => return Err(unexpected(byte, "after array element")),
            }
        }
    }

    fn string(&mut self) -> Result<(), String> {
        loop {
            match self.take()? {
                b'"' => return Ok(()),
                b'\\' => self.escape()?,
                byte @ ..0x20 => return Err(unexpected(byte, "in string literal")),
                _ => {}
            }
        }
    }

    fn escape(&mut self) -> Result<(), String> {
        match self.take()? {
            b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => Ok(()),
            b'u' => {
                for _ in 0..4 {
                    let byte = self.take()?;
                    if !byte.is_ascii_hexdigit() {
                        return Err(unexpected(byte, "in \\u hexadecimal character escape"));
                    }
                }
                Ok(())
            }
            byte => Err(unexpected(byte, "in string escape code")),
        }
    }

    fn literal(&mut self, name: &str) -> Result<(), String> {
        for expected in name.bytes().skip(1) {
            let byte = self.take()?;
            if byte != expected {
                let expected = char::from(expected);
                let place = format!("in literal {name} (expecting '{expected}')");
                return Err(unexpected(byte, &place));
            }
        }
        Ok(())
    }

    fn number(&mut self, first: u8) -> Result<(), String> {
        let first = if first == b'-' {
            self.digit("in numeric literal")?
        } else {
            first
        };
        if first != b'0' {
            self.digits();
        }
        if self.text.get(self.at) == Some(&b'.') {
            self.at += 1;
            self.digit("after decimal point in numeric literal")?;
            self.digits();
        }
        if let Some(b'e' | b'E') = self.text.get(self.at) {
            self.at += 1;
            if let Some(b'+' | b'-') = self.text.get(self.at) {
                self.at += 1;
            }
            self.digit("in exponent of numeric literal")?;
            self.digits();
        }
        Ok(())
    }

    fn digit(&mut self, place: &str) -> Result<u8, String> {
        let byte = self.take()?;
        if byte.is_ascii_digit() {
            Ok(byte)
        } else {
            Err(unexpected(byte, place))
        }
    }

    fn digits(&mut self) {
        while self.text.get(self.at).is_some_and(u8::is_ascii_digit) {
            self.at += 1;
        }
    }
}

fn ended() -> String {
    ENDED.into()
}

fn unexpected(byte: u8, place: &str) -> String {
    let shown = match byte {
        b'\'' => r"\'".into(),
        b'"' => "\"".into(),
        _ => {
            let text = char::from(byte).to_string();
            let quoted = super::go::quote(text.as_bytes());
            quoted[1..quoted.len() - 1].to_owned()
        }
    };
    format!("invalid character '{shown}' {place}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_are_worded_as_observed() {
        let table = [
            ("", "unexpected end of JSON input"),
            (
                r#"{"peerURLs":["http://a:1""#,
                "unexpected end of JSON input",
            ),
            (
                r#"{"a":["b"]}x"#,
                "invalid character 'x' after top-level value",
            ),
            ("x", "invalid character 'x' looking for beginning of value"),
            (
                "{x",
                "invalid character 'x' looking for beginning of object key string",
            ),
            (
                r#"{"a":1,}"#,
                "invalid character '}' looking for beginning of object key string",
            ),
            (r#"{"a" 1}"#, "invalid character '1' after object key"),
            (
                r#"{"a":["\q"]}"#,
                "invalid character 'q' in string escape code",
            ),
            (
                r#"{"a":tru}"#,
                "invalid character '}' in literal true (expecting 'e')",
            ),
            (
                r#"{"a":1.}"#,
                "invalid character '}' after decimal point in numeric literal",
            ),
            (
                r#"{"a":01}"#,
                "invalid character '1' after object key:value pair",
            ),
            (r#"{"a":-}"#, "invalid character '}' in numeric literal"),
            (r#"["a" 1]"#, "invalid character '1' after array element"),
            (
                r#"{"a":1 1}"#,
                "invalid character '1' after object key:value pair",
            ),
            (
                "[1,]",
                "invalid character ']' looking for beginning of value",
            ),
            (
                "'a'",
                r"invalid character '\'' looking for beginning of value",
            ),
            ("\"\n\"", r"invalid character '\n' in string literal"),
        ];
        for (text, expect) in table {
            assert_eq!(check(text.as_bytes()).unwrap_err(), expect, "{text}");
        }
    }

    #[test]
    fn a_stream_is_judged_by_its_first_value() {
        assert_eq!(check_first(b"{} trailing"), Ok(()));
        assert_eq!(check_first(b"{\"a\"").unwrap_err(), "unexpected EOF");
        assert_eq!(
            check_first(b"not json").unwrap_err(),
            "invalid character 'o' in literal null (expecting 'u')"
        );
    }

    #[test]
    fn json_passes() {
        for text in [
            "null",
            " {} ",
            r#"{"a":[1,-0.5e+3,"\u00e9\n",true,false,null,{"b":[]}]}"#,
            "0",
        ] {
            assert_eq!(check(text.as_bytes()), Ok(()), "{text}");
        }
        let deep = "[".repeat(DEPTH_MAX * 2);
        assert_eq!(check(deep.as_bytes()).unwrap_err(), "exceeded max depth");
    }
}
