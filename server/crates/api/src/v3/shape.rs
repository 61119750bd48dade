//! Tables for parsing JSON into messages: names, numbers and kinds of fields, and their oneofs. They are generated from the
//! protos; the gateway parses request bodies with them.

/// A message's fields, in the order of the proto.
#[derive(Debug)]
pub struct MessageShape {
    /// All fields, including the fields of oneofs.
    pub fields: &'static [FieldShape],
}

/// A field.
#[derive(Debug)]
pub struct FieldShape {
    /// Name in the proto.
    pub name: &'static str,
    /// Name in lowerCamelCase.
    pub json_name: &'static str,
    /// Number on the wire.
    pub number: u32,
    /// Type of the field, or of each element of a list.
    pub kind: FieldKind,
    /// Whether the field is repeated.
    pub list: bool,
    /// Full name of the oneof to which the field belongs.
    pub oneof: Option<&'static str>,
}

/// Type of a field's value.
#[derive(Clone, Copy, Debug)]
#[expect(missing_docs, reason = "protobuf's names")]
pub enum FieldKind {
    Bool,
    Int64,
    Uint64,
    Uint32,
    String,
    Bytes,
    Enum(&'static EnumShape),
    Message(&'static MessageShape),
}

/// An enum.
#[derive(Debug)]
pub struct EnumShape {
    /// Name of the enum's type in Go.
    pub name: &'static str,
    /// Names and numbers.
    pub values: &'static [(&'static str, i32)],
}

/// A message type with a table of its fields.
pub trait Shaped {
    /// Table of the message's fields.
    const SHAPE: &'static MessageShape;
}
