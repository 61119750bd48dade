//! Tables of the requests that members counted.

use super::*;
use crate::testing::{fixture, golden};

#[test]
fn a_table_by_prefix() {
    let rates: Rates = fixture("rates.yaml");
    golden("rates-prefix.txt", &rates.text(4));
}

/// Programs parse this output.
#[test]
fn json_has_the_pages_of_all_members() {
    let rates: Rates = fixture("rates.yaml");
    let json = serde_json::to_value(&rates).unwrap();
    let [first, .., last] = json["members"].as_array().unwrap().as_slice() else {
        panic!("{json}");
    };
    assert_eq!(first["member"], "orders-0");
    assert_eq!(first["rows"][0]["keySpace"], "v3");
    assert_eq!(first["rows"][0]["reads"], 2100);
    assert!(first.get("error").is_none() && last.get("rows").is_none());
    assert!(last["error"].as_str().unwrap().contains("older"));
}

#[test]
fn a_member_without_a_page_says_why() {
    let old = explain(PageError::Status(
        StatusCode::NOT_FOUND,
        "404 page not found".to_owned(),
    ));
    assert!(old.contains("older than this plugin"), "{old}");
    let locked = explain(PageError::Status(StatusCode::UNAUTHORIZED, String::new()));
    assert!(locked.contains("--password-file"), "{locked}");
    let busy = r#"{"message":"this member counts"}"#.to_owned();
    let busy = explain(PageError::Status(StatusCode::TOO_MANY_REQUESTS, busy));
    assert!(
        busy.starts_with("429") && busy.contains("this member counts"),
        "{busy}"
    );
}
