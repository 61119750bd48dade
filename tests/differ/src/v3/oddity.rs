//! The oddities of gateway bodies: the place of each, and how each etcd release reads it. `body` writes such bodies.

use super::Era;

/// The place of an oddity in a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    Bytes,
    Int,
    Bool,
    Enum,
    /// A nested message.
    Message,
    /// A list of messages.
    List,
    /// An object, to which the oddity adds a member.
    Member,
    /// A second alternative of a oneof.
    Alternative,
    /// The entire body.
    Whole,
}

/// How a server reads an oddity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Read {
    /// The server accepts the request.
    Taken,
    /// The server refuses the request.
    Refused,
    /// The result depends on the context. The table does not distinguish the cases.
    Either,
    /// The oddity is not sent, because Witan must not imitate this server's failure.
    Never,
}

/// An oddity that a body can contain.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Oddity {
    pub(crate) name: &'static str,
    pub(crate) place: Place,
    pub(crate) text: &'static str,
    /// How etcd 3.7 reads it.
    pub(crate) present: Read,
    /// How etcd 3.4 reads it.
    pub(crate) former: Read,
}

macro_rules! oddities {
    ($($place:ident $name:tt $text:literal $present:ident $former:ident;)*) => {
        &[$(Oddity {
            name: $name,
            place: Place::$place,
            text: $text,
            present: Read::$present,
            former: Read::$former,
        },)*]
    };
}

/// All oddities: place, name, text, and how etcd 3.7 and etcd 3.4 read it.
#[rustfmt::skip]
pub(crate) const ODDITIES: &[Oddity] = oddities! {
    Bytes "bytes: no base64" "\"!!!!\"" Refused Refused;
    Bytes "bytes: unpadded" "\"YWI\"" Taken Refused;
    Bytes "bytes: URL letters" "\"_-8=\"" Taken Refused;
    Bytes "bytes: mixed letters" "\"_+8=\"" Refused Refused;
    Bytes "bytes: after padding" "\"YWI=YQ==\"" Refused Refused;
    Bytes "bytes: padding inside" "\"Y=Q=\"" Refused Refused;
    Bytes "bytes: one letter" "\"Y\"" Refused Refused;
    Bytes "bytes: one letter more" "\"YWJjZ\"" Refused Refused;
    Bytes "bytes: loose bits" "\"YR==\"" Taken Taken;
    Bytes "bytes: line break" "\"YW\\\\nI=\"" Refused Taken;
    Bytes "bytes: escaped letter" "\"\\\\u0059Q==\"" Taken Taken;
    Bytes "bytes: lone surrogate" "\"\\\\ud800\"" Refused Refused;
    Bytes "bytes: number" "7" Refused Refused;
    Bytes "bytes: bool" "true" Refused Refused;
    Bytes "bytes: null" "null" Taken Taken;
    Bytes "bytes: list" "[97,98]" Refused Taken;
    Bytes "bytes: list of text" "[\"a\"]" Refused Refused;
    Bytes "bytes: list of large" "[300]" Refused Refused;
    Bytes "bytes: object" "{}" Refused Refused;
    Bytes "bytes: empty" "\"\"" Taken Taken;
    Int "int: letters" "\"x\"" Refused Refused;
    Int "int: empty" "\"\"" Refused Refused;
    Int "int: bool" "true" Refused Refused;
    Int "int: text of bool" "\"true\"" Refused Refused;
    Int "int: null" "null" Taken Taken;
    Int "int: text of null" "\"null\"" Refused Taken;
    Int "int: fraction" "1.5" Refused Refused;
    Int "int: whole fraction" "2.0" Taken Refused;
    Int "int: exponent" "1e1" Taken Refused;
    Int "int: text of exponent" "\"1e1\"" Taken Refused;
    Int "int: small exponent" "20e-1" Taken Refused;
    Int "int: huge exponent" "1e400" Refused Refused;
    Int "int: zero exponent" "0e999" Taken Refused;
    Int "int: space before" "\" 7\"" Refused Taken;
    Int "int: space after" "\"7 \"" Refused Taken;
    Int "int: two" "\"7 8\"" Taken Refused;
    Int "int: comma" "\"7,\"" Taken Refused;
    Int "int: sign" "\"+7\"" Refused Refused;
    Int "int: minus nothing" "-0" Taken Taken;
    Int "int: minus alone" "\"-\"" Refused Refused;
    Int "int: zeros" "\"007\"" Refused Refused;
    Int "int: hexadecimal" "\"0x10\"" Refused Refused;
    Int "int: largest" "9223372036854775807" Taken Taken;
    Int "int: too large" "9223372036854775808" Refused Refused;
    Int "int: text too large" "\"9223372036854775808\"" Refused Refused;
    Int "int: too small" "\"-9223372036854775809\"" Refused Refused;
    Int "int: precise" "9007199254740993" Taken Taken;
    Int "int: list" "[]" Refused Refused;
    Int "int: object" "{\"a\":1}" Refused Refused;
    Bool "bool: text" "\"true\"" Refused Refused;
    Bool "bool: number" "1" Refused Refused;
    Bool "bool: null" "null" Taken Taken;
    Bool "bool: list" "[true]" Refused Refused;
    Bool "bool: object" "{}" Refused Refused;
    Enum "enum: unknown name" "\"UP\"" Taken Refused;
    Enum "enum: small letters" "\"descend\"" Taken Refused;
    Enum "enum: text of number" "\"1\"" Taken Refused;
    Enum "enum: empty" "\"\"" Taken Refused;
    Enum "enum: escaped letter" "\"\\\\u0045QUAL\"" Taken Refused;
    Enum "enum: bool" "true" Refused Refused;
    Enum "enum: null" "null" Taken Taken;
    Enum "enum: whole fraction" "1.0" Taken Refused;
    Enum "enum: fraction" "1.5" Refused Refused;
    Enum "enum: too large" "2147483648" Refused Refused;
    Enum "enum: list" "[1]" Refused Refused;
    Message "message: number" "5" Refused Refused;
    Message "message: text" "\"x\"" Refused Refused;
    Message "message: null" "null" Taken Never;
    Message "message: list" "[]" Refused Refused;
    Message "message: bool" "false" Refused Refused;
    List "list: number" "5" Refused Refused;
    List "list: object" "{}" Refused Refused;
    List "list: null" "null" Taken Taken;
    List "list: text" "\"x\"" Refused Refused;
    List "list: of numbers" "[5]" Refused Refused;
    List "list: of lists" "[[]]" Refused Refused;
    List "list: of null" "[null]" Refused Never;
    List "list: empty" "[]" Taken Taken;
    Member "member: unknown" "\"nonsense\":{\"a\":[1,{\"b\":null}],\"c\":-1.5e3}" Taken Taken;
    Member "member: no name" "\"\":\"x\"" Taken Never;
    Member "member: extension" "\"[a.b]\":1" Taken Taken;
    Member "member: type" "\"\\x40type\":\"x\"" Taken Taken;
    Member "member: escaped name" "\"\\\\u006bey\":5" Either Either;
    Member "member: other case" "\"KEY\":5" Taken Taken;
    Alternative "oneof twice" "\"request_delete_range\":{\"key\":\"YQ==\"},\"request_put\":{\"key\":\"YQ==\"}" Refused Never;
    Alternative "oneof and null" "\"request_delete_range\":{\"key\":\"YQ==\"},\"request_put\":null" Refused Never;
    Whole "body: nothing" "" Taken Taken;
    Whole "body: space" " \\n\\r " Taken Taken;
    Whole "body: null" "null" Refused Taken;
    Whole "body: list" "[]" Refused Refused;
    Whole "body: list of messages" "[{}]" Refused Refused;
    Whole "body: number" "-5.0E2" Refused Refused;
    Whole "body: text" "\"x\"" Refused Refused;
    Whole "body: bool" "true" Refused Refused;
    Whole "body: words" "not json" Refused Refused;
    Whole "body: form" "key=a&value=b" Refused Refused;
    Whole "body: trailing words" "{} trailing" Taken Taken;
    Whole "body: two" "{}{}" Taken Taken;
    Whole "body: no UTF-8" "{\"key\":\"\\xff\\xfe\"}" Refused Either;
    Whole "body: no UTF-8 in a name" "{\"\\xff\":1}" Refused Taken;
    Whole "body: byte order mark" "\\xef\\xbb\\xbf{}" Refused Refused;
    Whole "body: control letter" "{\"key\":\"\\x01\"}" Refused Refused;
    Whole "body: bare name" "{key:1}" Refused Refused;
    Whole "body: comma at the end" "{\"key\":\"YQ==\",}" Refused Refused;
    Whole "body: comma at the start" "{,\"key\":\"YQ==\"}" Refused Refused;
    Whole "body: no colon" "{\"key\" \"YQ==\"}" Refused Refused;
    Whole "body: single quotes" "{'key':'YQ=='}" Refused Refused;
    Whole "body: comment" "{/**/}" Refused Refused;
    Whole "body: zeros before" "{\"limit\":01}" Refused Refused;
    Whole "body: plus" "{\"limit\":+1}" Refused Refused;
    Whole "body: dot" "{\"limit\":1.}" Refused Refused;
    Whole "body: open exponent" "{\"limit\":1e}" Refused Refused;
    Whole "body: infinity" "{\"limit\":Infinity}" Refused Refused;
    Whole "body: bad escape" "{\"key\":\"\\\\x\"}" Refused Refused;
    Whole "body: bad code" "{\"key\":\"\\\\u00g0\"}" Refused Refused;
    Whole "body: second line" "\\n {\\n  \"limit\": {}}" Either Either;
    Whole "body: wide letters before" "{\"ä€\": 1, \"key\": 5}" Either Either;
};

/// Alterations of a body's text, in addition to [`ODDITIES`].
pub(crate) const TRUNCATED: &str = "body: truncated";
pub(crate) const DAMAGED: &str = "body: one byte changed";
pub(crate) const TWICE: &str = "member: twice";
pub(crate) const BOTH_NAMES: &str = "member: by both names";
/// The alterations. They have no text.
#[rustfmt::skip]
pub(crate) const OTHERS: &[Oddity] = oddities! {
    Whole TRUNCATED "" Refused Refused;
    Whole DAMAGED "" Either Either;
    Whole TWICE "" Refused Taken;
    Whole BOTH_NAMES "" Refused Taken;
};

impl Oddity {
    pub(crate) fn read(&self, era: Era) -> Read {
        match era {
            Era::Present => self.present,
            Era::Former => self.former,
        }
    }
}

/// Returns how an oddity or alteration with this name is read.
pub(crate) fn read(name: &str, era: Era) -> Read {
    let mut known = ODDITIES.iter().chain(OTHERS);
    let oddity = known.find(|oddity| oddity.name == name);
    oddity.map_or(Read::Never, |oddity| oddity.read(era))
}
