# Two doors: `just verify` only reads, `just fix` mends what a machine can mend.
# The end-to-end tests, the simulator sweep and the tools they need: `tests/run`.

# every gate, read-only
verify: fmt clippy deny tidy test doc

# formatting
fmt:
    cargo fmt --all --check

# lints, warnings are errors
clippy:
    cargo clippy --workspace --all-targets --quiet -- -D warnings

# duplicate crates, licences, sources
deny:
    cargo deny --log-level error check bans licenses sources

# rules about the repository itself
tidy:
    cargo test --quiet -p witan-tidy

# unit, golden and property tests
test:
    cargo test --quiet --workspace --exclude witan-tidy --exclude witan-e2e --exclude witan-differ

# documentation, warnings are errors
doc:
    RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --document-private-items --quiet

# mends formatting and what clippy can mend by itself
fix:
    cargo clippy --workspace --all-targets --fix --allow-dirty --allow-staged --quiet
    cargo fmt --all
