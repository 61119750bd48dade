//! The differ's command line, which runs seeds of one dialect, or kept scripts.

use std::{
    io::{self, Write as _},
    process::ExitCode,
};

use witan_differ::{
    calls::Calls,
    engine,
    plan::{Plan, USAGE},
    v2, v3, watch,
};

#[tokio::main]
async fn main() -> ExitCode {
    let plan = match Plan::parse(std::env::args().skip(1)) {
        Ok(plan) => plan,
        Err(problem) => {
            // If this write also fails, there is no other place to report it.
            let _ = write!(io::stdout(), "{problem}\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    let mut out = io::stdout();
    let result = match plan.dialect.as_str() {
        "v2" => engine::run(&[v2::Keys], &plan, &mut out).await,
        "watch" => engine::run(&[watch::Watches], &plan, &mut out).await,
        "lease" => engine::run(&[Calls::Leases], &plan, &mut out).await,
        "auth" => engine::run(&[Calls::Users], &plan, &mut out).await,
        _ => engine::run(&v3::Keys::ALL, &plan, &mut out).await,
    };
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(problem) => {
            let _ = writeln!(out, "{problem}");
            ExitCode::FAILURE
        }
    }
}
