//! The arguments, as clap parses them. The doc comments are the help output.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use clap::{Args, Parser, Subcommand};
use witan_gocompat::text::parse_duration;

/// Forwards TCP connections of clients to the members of a cluster.
#[derive(Debug, Parser)]
#[command(name = "witan gateway", bin_name = "witan gateway")]
pub(super) struct GatewayArguments {
    #[command(flatten)]
    pub(super) start: StartArguments,
    #[command(subcommand)]
    pub(super) verb: GatewayVerb,
}

#[derive(Debug, Subcommand)]
pub(super) enum GatewayVerb {
    /// Starts the gateway, which stops on SIGTERM or SIGINT. Environment variables cannot set the gateway's flags.
    Start,
}

/// The flags of `witan gateway start`. As in etcd, they can also precede `start`.
#[derive(Debug, Args)]
pub struct StartArguments {
    /// Address on which the gateway listens, as HOST:PORT.
    #[arg(
        long,
        global = true,
        value_name = "ADDRESS",
        default_value = "127.0.0.1:23790"
    )]
    pub(super) listen_addr: String,
    /// Endpoints of the cluster, comma-separated, as HOST:PORT or URLs; by default 127.0.0.1:2379. With --discovery-srv, they
    /// are used only if no discovered endpoint is verified.
    #[arg(long, global = true, value_delimiter = ',')]
    pub(super) endpoints: Vec<String>,
    /// Domain whose SRV records _etcd-client-ssl._tcp and _etcd-client._tcp name the endpoints.
    #[arg(long, global = true, value_name = "DOMAIN")]
    pub(super) discovery_srv: Option<String>,
    /// Suffix of the service in the names of the SRV records, as in _etcd-client-SUFFIX._tcp.
    #[arg(long, global = true, value_name = "SUFFIX")]
    pub(super) discovery_srv_name: Option<String>,
    /// Name server for the SRV records, as ADDRESS:PORT; by default the name servers in /etc/resolv.conf. Not a flag of etcd.
    #[arg(long, global = true, value_name = "ADDRESS")]
    pub(super) discovery_srv_server: Option<SocketAddr>,
    /// Also use discovered endpoints without TLS, and verify no certificates.
    #[arg(long, global = true, num_args = 0..=1, require_equals = true)]
    #[arg(default_value_t = false, default_missing_value = "true")]
    pub(super) insecure_discovery: bool,
    /// CA certificate file for verifying discovered endpoints, whose certificates must be valid for the domain; by default the
    /// CA certificates of the system.
    #[arg(long, global = true, value_name = "FILE")]
    pub(super) trusted_ca_file: Option<PathBuf>,
    /// Delay before the gateway connects again to an endpoint that failed.
    #[arg(long, global = true, value_name = "DURATION", default_value = "1m", value_parser = delay)]
    pub(super) retry_delay: Duration,
}

/// Parses a duration as in Go. Refuses 0, because the gateway would retry without a pause.
fn delay(text: &str) -> Result<Duration, String> {
    let delay = parse_duration(text).filter(|delay| !delay.is_zero());
    delay.ok_or_else(|| "must be a duration above 0, such as 30s or 1m".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<StartArguments, String> {
        let words = std::iter::once("gateway").chain(line.split_whitespace());
        let line = GatewayArguments::try_parse_from(words).map_err(|error| error.to_string())?;
        let GatewayVerb::Start = line.verb;
        Ok(line.start)
    }

    #[test]
    fn flags_and_defaults_match_etcd() {
        let arguments = parsed("start").unwrap();
        assert_eq!(arguments.listen_addr, "127.0.0.1:23790");
        assert_eq!(arguments.retry_delay, Duration::from_secs(60));
        assert!(arguments.endpoints.is_empty() && !arguments.insecure_discovery);
        let arguments = parsed(
            "start --endpoints=a:1,b:2 --endpoints c:3 --insecure-discovery --retry-delay=1m30s \
             --discovery-srv example.org --discovery-srv-name mine --trusted-ca-file ca.pem",
        )
        .unwrap();
        assert_eq!(arguments.endpoints, ["a:1", "b:2", "c:3"]);
        let before = parsed("--endpoints=a:1,b:2 start").unwrap();
        assert_eq!(before.endpoints, ["a:1", "b:2"]);
        assert_eq!(arguments.retry_delay, Duration::from_secs(90));
        assert!(arguments.insecure_discovery);
        assert!(
            !parsed("start --insecure-discovery=false")
                .unwrap()
                .insecure_discovery
        );
    }

    #[test]
    fn refusals_name_the_flag() {
        for (line, named) in [
            ("start --retry-delay=0", "--retry-delay"),
            ("start --retry-delay=soon", "--retry-delay"),
            (
                "start --discovery-srv-server=here",
                "--discovery-srv-server",
            ),
            ("start --cert-file=a.pem", "--cert-file"),
            ("start now", "now"),
            ("stop", "stop"),
            ("", "start"),
        ] {
            let refused = parsed(line).unwrap_err();
            assert!(refused.contains(named), "{line}: {refused}");
        }
    }
}
