//! A curl command line as the request that curl would send.

/// The request that curl sends.
#[derive(Debug, Default)]
pub(crate) struct Request {
    pub(crate) method: String,
    /// Path and query.
    pub(crate) target: String,
    pub(crate) body: String,
}

/// The pages' file: `echo "Hello\nWorld" > testfile.txt`, in a shell that leaves `\n` alone.
const TEST_FILE: (&str, &str) = ("testfile.txt", "Hello\\nWorld\n");

impl Request {
    /// Knows the options that the pages use.
    pub(crate) fn parse(line: &str) -> Self {
        let words = words(line);
        let mut words = words.iter().map(String::as_str);
        assert_eq!(words.next(), Some("curl"), "{line}");
        let mut request = Self::default();
        let mut data = Vec::new();
        while let Some(word) = words.next() {
            match word {
                "-s" | "-L" | "-vv" => {}
                "-X" => request.method = words.next().expect("a method").to_owned(),
                "-d" => data.push(words.next().expect("data").to_owned()),
                "--data-urlencode" => {
                    let argument = words.next().expect("data");
                    let (name, file) = argument.split_once('@').expect("a file");
                    assert_eq!(file, TEST_FILE.0);
                    data.push(format!("{name}={}", witan_e2e::http::escape(TEST_FILE.1)));
                }
                word if word.starts_with("-X") => request.method = word[2..].to_owned(),
                url => {
                    let rest = url.strip_prefix("http://").expect("a URL");
                    let at = rest.find('/').expect("a path");
                    request.target = rest[at..].to_owned();
                }
            }
        }
        request.body = data.join("&");
        if request.method.is_empty() {
            request.method = if data.is_empty() { "GET" } else { "POST" }.to_owned();
        }
        request
    }
}

/// Splits as a shell does, as far as the pages go: blanks and quotes.
fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    for c in line.chars() {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (None, '"' | '\'') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (None, ' ') => words.extend(word.take()),
            (_, c) => word.get_or_insert_default().push(c),
        }
    }
    assert!(quote.is_none(), "an open quote in {line}");
    words.extend(word);
    words
}
