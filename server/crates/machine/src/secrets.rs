//! `Debug` for types that contain passwords, their hashes or tokens.

/// Implements `Debug` for a type that contains secrets. The output contains only the named fields.
macro_rules! debug_without_secrets {
    ($type:ident$(: $($field:ident),+)?) => {
        impl std::fmt::Debug for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.debug_struct(stringify!($type))
                    $($(.field(stringify!($field), &self.$field))+)?
                    .finish_non_exhaustive()
            }
        }
    };
}

pub(crate) use debug_without_secrets;
