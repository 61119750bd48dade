//! The program `witan-operator`: its command line.

use std::io::Write;

use clap::{Parser, Subcommand};

/// Runs etcd clusters of Witan members on Kubernetes.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Prints the CustomResourceDefinition as YAML.
    Crd,
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    match Arguments::parse().command {
        Command::Crd => {
            let text = serde_yaml::to_string(&witan_operator::crd::definition())?;
            std::io::stdout().write_all(text.as_bytes())?;
        }
    }
    Ok(())
}
