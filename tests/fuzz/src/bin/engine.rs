//! Runs libFuzzer on the target in the variable `WITAN_FUZZ_TARGET`.

#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;

static TARGET: LazyLock<&witan_fuzz::Target> = LazyLock::new(|| {
    let name = std::env::var("WITAN_FUZZ_TARGET").unwrap_or_default();
    witan_fuzz::find(&name).unwrap_or_else(|| {
        let known: Vec<_> = witan_fuzz::TARGETS.iter().map(|known| known.name).collect();
        panic!("WITAN_FUZZ_TARGET must name one of {known:?}")
    })
});

fuzz_target!(|bytes: &[u8]| (TARGET.run)(bytes));
