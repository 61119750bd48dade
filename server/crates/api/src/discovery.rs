//! Paths of the discovery registry, where the members of a new cluster find each other. etcd's public discovery service uses
//! the same keys.

/// Directory of all tokens in the v2 tree.
pub const REGISTRY: &str = "/_etcd/registry";
/// Key of the cluster's size below a token. The key is hidden, because it starts with `_`.
pub const SIZE: &str = "_config/size";
/// Path that creates a token.
pub const NEW: &str = "/new";
/// Number of lower-case hexadecimal digits in a token (128 random bits).
pub const TOKEN_DIGITS: usize = 32;

/// Splits a cleaned path into its token and the remaining path, which is empty or starts with `/`. Returns `None` if the path
/// does not start with a token.
pub fn split_token(path: &[u8]) -> Option<(&str, &[u8])> {
    let (token, rest) = path.strip_prefix(b"/")?.split_at_checked(TOKEN_DIGITS)?;
    let is_digit = |byte: &u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    if !token.iter().all(is_digit) || !(rest.is_empty() || rest.starts_with(b"/")) {
        return None;
    }
    Some((std::str::from_utf8(token).ok()?, rest))
}

/// Returns whether a read or watch of the v2 key shows tokens that the key does not name. Hidden nodes are not shown, so only
/// [`REGISTRY`] and, if `recursive`, the hidden directory that contains it show tokens.
pub fn shows_tokens(key: &[u8], recursive: bool) -> bool {
    if names(key).eq(names(REGISTRY.as_bytes())) {
        return true;
    }
    let above = REGISTRY.rsplit_once('/').map_or("", |(above, _)| above);
    recursive && names(key).eq(names(above.as_bytes()))
}

/// Returns the non-empty components of a path.
fn names(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    path.split(|byte| *byte == b'/')
        .filter(|name| !name.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_registry_and_its_hidden_parent_show_tokens() {
        let shown =
            |key: &str| [false, true].map(|recursive| shows_tokens(key.as_bytes(), recursive));
        for (key, expect) in [
            ("/_etcd/registry", [true, true]),
            ("/_etcd/registry/", [true, true]),
            ("/_etcd", [false, true]),
            ("/_etcd/", [false, true]),
            ("/", [false, false]),
            ("", [false, false]),
            ("/_etcd/registry/token", [false, false]),
            ("/_etcd/registry2", [false, false]),
            ("/_etcd/machines", [false, false]),
            ("/a/_etcd/registry", [false, false]),
        ] {
            assert_eq!(shown(key), expect, "{key}");
        }
    }

    #[test]
    fn a_token_is_the_first_component_and_has_its_exact_length() {
        const TOKEN: &str = "e77afb997af5a84983baa98fd42cf12f";
        let split = |path: &str| {
            let (token, rest) = split_token(path.as_bytes())?;
            Some((token.to_owned(), String::from_utf8(rest.to_vec()).unwrap()))
        };
        let found = |rest: &str| Some((TOKEN.to_owned(), rest.to_owned()));
        assert_eq!(split(&format!("/{TOKEN}")), found(""));
        assert_eq!(split(&format!("/{TOKEN}/")), found("/"));
        assert_eq!(
            split(&format!("/{TOKEN}/_config/size")),
            found("/_config/size")
        );
        for other in [
            format!("/{TOKEN}0"),
            format!("/{}", &TOKEN[1..]),
            format!("/{}", TOKEN.to_uppercase()),
            format!("{TOKEN}/"),
            format!("/x/{TOKEN}"),
            format!("/{}é", &TOKEN[2..]),
            "/new".to_owned(),
        ] {
            assert_eq!(split(&other), None, "{other}");
        }
    }
}
