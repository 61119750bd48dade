//! The differ's command line: many seeds of one dialect, or the answers of kept scripts.

use std::{
    io::{self, Write as _},
    process::ExitCode,
};

use witan_differ::{
    plan::{Plan, USAGE},
    v2, v3, watch,
};

#[tokio::main]
async fn main() -> ExitCode {
    let plan = match Plan::parse(std::env::args().skip(1)) {
        Ok(plan) => plan,
        Err(problem) => {
            // nothing is left to do if even this cannot be written
            let _ = write!(io::stdout(), "{problem}\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    let passed = match plan.dialect.as_str() {
        "v2" => v2::run(&plan).await,
        "watch" => watch::run(&plan).await,
        _ => v3::run(&plan).await,
    };
    if passed {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
