//! Validates a JSON value that arrives in pieces. Examines each byte once and does not interpret the value.

use super::{NO_KEY, is_white, unexpected};

/// Maximum nesting depth of JSON; deeper nesting is refused, as in Go.
pub(super) const DEPTH_MAX: usize = 10_000;

/// The state of validating a value that may be incomplete.
#[derive(Debug, Default)]
pub struct JsonProgress {
    /// The closing bytes of the open containers, in a list so that nesting does not use the stack.
    open: Vec<u8>,
    step: Step,
}

/// The element that the next byte must belong to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Step {
    #[default]
    Value,
    /// At the start of an array.
    ValueOrEnd,
    Key,
    /// At the start of an object.
    KeyOrEnd,
    Colon,
    /// After a value in a container.
    After,
    String(StringRole),
    Escape(StringRole),
    /// In a `\u` escape, with the number of missing hexadecimal digits.
    Hex(StringRole, u8),
    /// In a literal such as `true`, with its entire text and the number of validated bytes.
    Literal(&'static str, usize),
    Number(Number),
}

/// Whether a string is a member's name or a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum StringRole {
    Name,
    Value,
}

/// The part of a number that the last byte belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Number {
    AfterMinus,
    AfterZero,
    Integer,
    AfterPoint,
    Fraction,
    AfterE,
    AfterSign,
    Exponent,
}

/// The position of a byte, relative to the value.
enum ByteResult {
    Inside,
    Last,
    Beyond,
}

impl JsonProgress {
    /// Validates the next bytes. Returns the number of bytes before the end of the value if the bytes complete it, otherwise
    /// `None`. Fails with Go's message for the first invalid byte. The method must not be called again after the end of the
    /// value.
    pub fn take(&mut self, bytes: &[u8]) -> Result<Option<usize>, String> {
        let mut at = 0;
        loop {
            if let Step::String(_) = self.step {
                at += plain(&bytes[at..]);
            }
            let Some(byte) = bytes.get(at) else {
                return Ok(None);
            };
            match self.take_byte(*byte)? {
                ByteResult::Inside => at += 1,
                ByteResult::Last => return Ok(Some(at + 1)),
                ByteResult::Beyond => return Ok(Some(at)),
            }
        }
    }

    /// Returns whether the value has not begun: all bytes so far were white space.
    pub fn is_new(&self) -> bool {
        self.open.is_empty() && self.step == Step::Value
    }

    /// Returns whether the value is complete if the text ends here. This is possible only for a number outside containers.
    /// Returns `false` if [`Self::take`] has already found the end.
    pub fn may_end(&self) -> bool {
        let Step::Number(number) = self.step else {
            return false;
        };
        self.open.is_empty() && number.may_end()
    }

    /// Validates one byte and moves to the next state. Returns the position of the byte. Fails with Go's error message for an
    /// invalid byte.
    fn take_byte(&mut self, byte: u8) -> Result<ByteResult, String> {
        match self.step {
            Step::Value
            | Step::ValueOrEnd
            | Step::Key
            | Step::KeyOrEnd
            | Step::Colon
            | Step::After
                if is_white(byte) => {}
            Step::ValueOrEnd if byte == b']' => return Ok(self.close()),
            Step::KeyOrEnd if byte == b'}' => return Ok(self.close()),
            Step::Value | Step::ValueOrEnd => self.begin(byte)?,
            Step::Key | Step::KeyOrEnd if byte == b'"' => {
                self.step = Step::String(StringRole::Name)
            }
            Step::Key | Step::KeyOrEnd => return Err(unexpected(byte, NO_KEY)),
            Step::Colon if byte == b':' => self.step = Step::Value,
            Step::Colon => return Err(unexpected(byte, "after object key")),
            Step::After => return self.after_value(byte),
            Step::String(role) => match byte {
                b'"' if role == StringRole::Name => self.step = Step::Colon,
                b'"' => return Ok(self.end()),
                b'\\' => self.step = Step::Escape(role),
                ..0x20 => return Err(unexpected(byte, "in string literal")),
                _ => {}
            },
            Step::Escape(role) => match byte {
                b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => {
                    self.step = Step::String(role);
                }
                b'u' => self.step = Step::Hex(role, 4),
                _ => return Err(unexpected(byte, "in string escape code")),
            },
            Step::Hex(_, _) if !byte.is_ascii_hexdigit() => {
                return Err(unexpected(byte, "in \\u hexadecimal character escape"));
            }
            Step::Hex(role, 1) => self.step = Step::String(role),
            Step::Hex(role, left) => self.step = Step::Hex(role, left - 1),
            Step::Literal(name, at) => return self.literal(name, at, byte),
            Step::Number(number) => match number.next(byte)? {
                Some(number) => self.step = Step::Number(number),
                None => {
                    self.step = Step::After;
                    return match self.open.is_empty() {
                        true => Ok(ByteResult::Beyond),
                        false => self.take_byte(byte),
                    };
                }
            },
        }
        Ok(ByteResult::Inside)
    }

    /// Starts a value at its first byte, which may open a container. Fails if no value begins with this byte or if the nesting
    /// exceeds `DEPTH_MAX`.
    fn begin(&mut self, byte: u8) -> Result<(), String> {
        self.step = match byte {
            b'{' | b'[' if self.open.len() == DEPTH_MAX => {
                return Err(unexpected(byte, "exceeded max depth"));
            }
            b'{' => {
                self.open.push(b'}');
                Step::KeyOrEnd
            }
            b'[' => {
                self.open.push(b']');
                Step::ValueOrEnd
            }
            b'"' => Step::String(StringRole::Value),
            b't' => Step::Literal("true", 1),
            b'f' => Step::Literal("false", 1),
            b'n' => Step::Literal("null", 1),
            b'-' => Step::Number(Number::AfterMinus),
            b'0' => Step::Number(Number::AfterZero),
            b'1'..=b'9' => Step::Number(Number::Integer),
            _ => return Err(unexpected(byte, "looking for beginning of value")),
        };
        Ok(())
    }

    /// Validates the byte after a value in the innermost container: a comma or the closing character. Returns `Last` if the
    /// byte completes the entire value. Fails with Go's error message for any other byte.
    fn after_value(&mut self, byte: u8) -> Result<ByteResult, String> {
        let in_object = self.open.last() == Some(&b'}');
        match byte {
            b',' if in_object => self.step = Step::Key,
            b',' => self.step = Step::Value,
            _ if self.open.last() == Some(&byte) => return Ok(self.close()),
            _ if in_object => return Err(unexpected(byte, "after object key:value pair")),
            _ => return Err(unexpected(byte, "after array element")),
        }
        Ok(ByteResult::Inside)
    }

    /// Validates the byte at offset `at` in the literal `name`. Returns `Last` if the byte completes the entire value. Fails
    /// with Go's error message for any other byte.
    fn literal(&mut self, name: &'static str, at: usize, byte: u8) -> Result<ByteResult, String> {
        let expected = name.as_bytes()[at];
        if byte != expected {
            let expected = char::from(expected);
            let context = format!("in literal {name} (expecting '{expected}')");
            return Err(unexpected(byte, &context));
        }
        if at + 1 == name.len() {
            return Ok(self.end());
        }
        self.step = Step::Literal(name, at + 1);
        Ok(ByteResult::Inside)
    }

    /// Closes the innermost container. Returns `Last` if no other container is open.
    fn close(&mut self) -> ByteResult {
        self.open.pop();
        self.end()
    }

    /// Ends a value at its last byte. Returns `Last` if no container is open.
    fn end(&mut self) -> ByteResult {
        self.step = Step::After;
        if self.open.is_empty() {
            ByteResult::Last
        } else {
            ByteResult::Inside
        }
    }
}

impl Number {
    /// Returns whether a number can end after this part.
    fn may_end(self) -> bool {
        match self {
            Self::AfterZero | Self::Integer | Self::Fraction | Self::Exponent => true,
            Self::AfterMinus | Self::AfterPoint | Self::AfterE | Self::AfterSign => false,
        }
    }

    /// Returns the part that `byte` belongs to, or `None` if the number ends before it. Fails if a digit is missing.
    fn next(self, byte: u8) -> Result<Option<Self>, String> {
        let digit = byte.is_ascii_digit();
        let next = match (self, byte) {
            (Self::AfterMinus, b'0') => Self::AfterZero,
            (Self::AfterMinus | Self::Integer, _) if digit => Self::Integer,
            (Self::AfterPoint | Self::Fraction, _) if digit => Self::Fraction,
            (Self::AfterE | Self::AfterSign | Self::Exponent, _) if digit => Self::Exponent,
            (Self::AfterE, b'+' | b'-') => Self::AfterSign,
            (Self::AfterZero | Self::Integer, b'.') => Self::AfterPoint,
            (Self::AfterZero | Self::Integer | Self::Fraction, b'e' | b'E') => Self::AfterE,
            (Self::AfterMinus, _) => return Err(unexpected(byte, "in numeric literal")),
            (Self::AfterPoint, _) => {
                let context = "after decimal point in numeric literal";
                return Err(unexpected(byte, context));
            }
            (Self::AfterE | Self::AfterSign, _) => {
                return Err(unexpected(byte, "in exponent of numeric literal"));
            }
            (Self::AfterZero | Self::Integer | Self::Fraction | Self::Exponent, _) => {
                return Ok(None);
            }
        };
        Ok(Some(next))
    }
}

/// Returns the length of the leading bytes without escapes, quotes and control characters.
fn plain(bytes: &[u8]) -> usize {
    let special = |byte: &u8| matches!(byte, b'"' | b'\\' | ..0x20);
    bytes.iter().position(special).unwrap_or(bytes.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_in_pieces_ends_at_the_same_offset() {
        let texts = [
            r#" {"a":[1,-0.5e+3,"\u00e9\n",true,false,null,{"b":[]}]} {}"#,
            "-12.5 1",
            "0,",
            r#""a\\\"b" "#,
            "[[],{}]]",
        ];
        for text in texts {
            let whole = JsonProgress::default().take(text.as_bytes());
            let whole = whole.unwrap().expect("the value ends");
            for size in 1..text.len() {
                let (mut progress, mut before) = (JsonProgress::default(), 0);
                let end = text.as_bytes().chunks(size).find_map(|piece| {
                    let end = progress.take(piece).unwrap();
                    let at = end.map(|end| before + end);
                    before += piece.len();
                    at
                });
                assert_eq!(end, Some(whole), "{text} in pieces of {size}");
            }
        }
    }

    #[test]
    fn only_a_number_can_be_complete_at_the_end_of_the_text() {
        for (text, may_end) in [("12", true), ("1.", false), ("[1", false), ("tru", false)] {
            let mut progress = JsonProgress::default();
            assert_eq!(progress.take(text.as_bytes()), Ok(None), "{text}");
            assert_eq!(progress.may_end(), may_end, "{text}");
            assert!(!progress.is_new());
        }
        let mut progress = JsonProgress::default();
        assert_eq!(progress.take(b" \n"), Ok(None));
        assert!(progress.is_new());
    }
}
