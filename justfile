# `just verify` only reads, and `just fix` fixes what a program can fix.
# `tests/run` runs the end-to-end tests and the simulator, and fetches the tools that they need.

# all checks, read-only
verify: fmt clippy deny tidy test doc

# formatting
fmt:
    cargo fmt --all --check

# lints; warnings are errors
clippy:
    cargo clippy --workspace --all-targets --quiet -- -D warnings

# duplicate crates, licenses, sources
deny:
    cargo deny --log-level error check bans licenses sources

# rules about the repository
tidy:
    cargo test --quiet -p witan-tidy

# unit, golden and property tests
test:
    cargo test --quiet --workspace --exclude witan-tidy --exclude witan-e2e --exclude witan-differ

# documentation; warnings are errors
doc:
    RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --document-private-items --quiet

# fixes formatting and the lints that clippy can fix
fix:
    cargo clippy --workspace --all-targets --fix --allow-dirty --allow-staged --quiet
    cargo fmt --all
