//! Whether a text is JSON, and if not, why not in the words of Go's decoder; and a scanner for who
//! reads it.

/// Deeper nesting is refused, as Go refuses it.
const DEPTH_MAX: usize = 10_000;
/// The text ends where more was to come.
const ENDED: &str = "unexpected end of JSON input";

/// `Ok` if `text` is one JSON value.
pub(crate) fn check(text: &[u8]) -> Result<(), String> {
    let fault = whole(text).err();
    match fault {
        None => Ok(()),
        // at the end Go tries a space, and tells what is wrong with that
        Some(fault) if fault == ENDED => whole(&[text, b" "].concat()),
        Some(fault) => Err(fault),
    }
}

fn whole(text: &[u8]) -> Result<(), String> {
    let mut scanner = Scanner::new(text);
    scanner.value()?;
    match scanner.peek() {
        None => Ok(()),
        Some(byte) => Err(unexpected(byte, "after top-level value")),
    }
}

/// Whether there is nothing but white space.
pub(crate) fn is_space(text: &[u8]) -> bool {
    Scanner::new(text).peek().is_none()
}

/// Where the first value of a stream of them ends, `None` if more of it is to come.
pub(crate) fn first(text: &[u8]) -> Result<Option<usize>, String> {
    let mut scanner = Scanner::new(text);
    match scanner.value() {
        Ok(()) => Ok(Some(scanner.at())),
        Err(fault) if fault == ENDED => Ok(None),
        Err(fault) => Err(fault),
    }
}

/// `Ok` if `text` begins with one JSON value, as for a decoder that reads a stream of them.
pub(crate) fn check_first(text: &[u8]) -> Result<(), String> {
    first(text)?.map_or_else(|| Err("unexpected EOF".into()), |_| Ok(()))
}

/// A place in a text. What is taken is checked, what follows is not.
#[derive(Debug)]
pub(crate) struct Scanner<'a> {
    text: &'a [u8],
    at: usize,
}

impl<'a> Scanner<'a> {
    pub(crate) fn new(text: &'a [u8]) -> Self {
        Self { text, at: 0 }
    }

    /// The offset of what comes next.
    pub(crate) fn at(&self) -> usize {
        self.at
    }

    /// The text from an offset up to here.
    pub(crate) fn since(&self, start: usize) -> &'a [u8] {
        &self.text[start..self.at]
    }

    /// The next byte that is not white space.
    pub(crate) fn peek(&mut self) -> Option<u8> {
        while let Some(b' ' | b'\t' | b'\r' | b'\n') = self.text.get(self.at) {
            self.at += 1;
        }
        self.text.get(self.at).copied()
    }

    /// Takes the next byte that is not white space.
    pub(crate) fn token(&mut self) -> Result<u8, String> {
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

    /// Takes a whole value. Open containers are kept in a list, not on the stack.
    pub(crate) fn value(&mut self) -> Result<(), String> {
        let mut open = Vec::new();
        loop {
            let first = self.token()?;
            match first {
                b'{' | b'[' => {
                    if open.len() == DEPTH_MAX {
                        return Err(unexpected(first, "exceeded max depth"));
                    }
                    // the byte that closes it stands two above the one that opens it
                    open.push(first + 2);
                    if self.peek() == Some(first + 2) {
                        self.at += 1;
                        open.pop();
                    } else {
                        if first == b'{' {
                            self.name()?;
                        }
                        continue;
                    }
                }
                _ => self.scalar(first)?,
            }
            if !self.next(&mut open)? {
                return Ok(());
            }
        }
    }

    /// Takes what stands after a value: whether another one follows within the open containers.
    fn next(&mut self, open: &mut Vec<u8>) -> Result<bool, String> {
        while let Some(&close) = open.last() {
            match self.token()? {
                b',' => {
                    if close == b'}' {
                        self.name()?;
                    }
                    return Ok(true);
                }
                byte if byte == close => {
                    open.pop();
                }
                byte if close == b'}' => {
                    return Err(unexpected(byte, "after object key:value pair"));
                }
                byte => return Err(unexpected(byte, "after array element")),
            }
        }
        Ok(false)
    }

    /// Takes a member's name and the colon after it.
    fn name(&mut self) -> Result<(), String> {
        self.key()?;
        self.colon()
    }

    /// Takes a member's name.
    pub(crate) fn key(&mut self) -> Result<(), String> {
        match self.token()? {
            b'"' => self.string(),
            byte => Err(unexpected(
                byte,
                "looking for beginning of object key string",
            )),
        }
    }

    /// Takes what stands between a name and its value.
    pub(crate) fn colon(&mut self) -> Result<(), String> {
        match self.token()? {
            b':' => Ok(()),
            byte => Err(unexpected(byte, "after object key")),
        }
    }

    /// Takes the rest of a value that is no container, after its first byte.
    pub(crate) fn scalar(&mut self, first: u8) -> Result<(), String> {
        match first {
            b'"' => self.string(),
            b't' => self.literal("true"),
            b'f' => self.literal("false"),
            b'n' => self.literal("null"),
            b'-' | b'0'..=b'9' => self.number(first),
            byte => Err(unexpected(byte, "looking for beginning of value")),
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
            ("-", "invalid character ' ' in numeric literal"),
            (
                "tru",
                "invalid character ' ' in literal true (expecting 'e')",
            ),
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
        let nested = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
        assert_eq!(check(nested(DEPTH_MAX).as_bytes()), Ok(()));
        assert_eq!(
            check(nested(DEPTH_MAX + 1).as_bytes()).unwrap_err(),
            "invalid character '[' exceeded max depth"
        );
    }
}
