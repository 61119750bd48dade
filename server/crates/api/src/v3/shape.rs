//! Tables of message fields for parsing and writing JSON, generated from the protos.

/// The fields of a message, in proto order.
#[derive(Debug)]
pub struct MessageShape {
    /// All fields, including the fields of oneofs.
    pub fields: &'static [FieldShape],
}

/// A field of a message.
#[derive(Debug)]
pub struct FieldShape {
    /// Name in the proto.
    pub name: &'static str,
    /// Name in lowerCamelCase.
    pub json_name: &'static str,
    /// Number on the wire.
    pub number: u32,
    /// Type of the field or, for a list, of each element.
    pub kind: FieldKind,
    /// Whether the field is repeated.
    pub list: bool,
    /// Full name of the oneof that contains the field, if any.
    pub oneof: Option<&'static str>,
}

/// Type of a field's value.
#[derive(Clone, Copy, Debug)]
#[expect(missing_docs, reason = "the names come from protobuf")]
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

/// The values of an enum.
#[derive(Debug)]
pub struct EnumShape {
    /// Name of the enum's type in Go.
    pub name: &'static str,
    /// Names and numbers of the values.
    pub values: &'static [(&'static str, i32)],
}

/// A message type with a table of its fields.
pub trait Shaped: prost::Message + Sized {
    /// Table of the message's fields.
    const SHAPE: &'static MessageShape;
}

/// Defines the table of a message's fields and implements [`Shaped`] and [`serde::Serialize`] for the message.
macro_rules! shaped {
    ($table:ident, $message:ty, [$($field:expr,)*]) => {
        static $table: $crate::v3::shape::MessageShape =
            $crate::v3::shape::MessageShape { fields: &[$($field),*] };

        impl $crate::v3::shape::Shaped for $message {
            const SHAPE: &'static $crate::v3::shape::MessageShape = &$table;
        }

        impl serde::Serialize for $message {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                $crate::v3::json::serialize(self, None, serializer)
            }
        }
    };
}

pub(crate) use shaped;
