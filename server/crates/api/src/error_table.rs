//! Defines the error tables of v1 and v2. Each row is a name, a code, an HTTP status and a message.

macro_rules! error_table {
    ($($(#[$doc:meta])* $name:ident = $code:literal, $status:literal, $message:literal;)*) => {
        /// The errors of this dialect.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum ErrorCode {
            $($(#[$doc])* $name,)*
        }

        impl ErrorCode {
            /// All errors, in ascending order of their codes.
            pub const ALL: &'static [ErrorCode] = &[$(ErrorCode::$name),*];

            /// Returns the error code in the response body.
            pub const fn code(self) -> u16 {
                match self { $(ErrorCode::$name => $code),* }
            }

            /// Returns the HTTP status of the response.
            pub const fn status(self) -> u16 {
                match self { $(ErrorCode::$name => $status),* }
            }

            /// Returns the fixed message of the error.
            pub const fn message(self) -> &'static str {
                match self { $(ErrorCode::$name => $message),* }
            }
        }
    };
}

pub(crate) use error_table;
