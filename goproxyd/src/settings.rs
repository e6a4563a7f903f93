//! Every setting of `goproxyd`, defined once: name, default, help and type of the flag.
//!
//! The names in the environment and in the configuration file follow from the flag's (see [`crate::config`]).
//! This is plain data: whoever gets a [`Settings`] can rely on each value having been read and checked.

mod value;
mod verdict;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use clap::builder::BoolishValueParser;
use cluster::{Address, Datacenter, Zone};
use common::byte_size::ByteSize;
use common::redacted::Redacted;
use common::telemetry::LogDirectives;
use dataplane::sumdb::SumSpec;
use dataplane::upstream::Chain;
use gomod::GlobPatterns;

pub(crate) use value::{AccessLog, Eviction, LogFormat, SumdbUnavailable, node_label};

/// The zone of whoever is told of none.
pub(crate) const ZONE_DEFAULT: &str = "default";

/// The settings of one process, merged from flags, environment, file and defaults.
#[derive(Clone, Debug, Args)]
pub(crate) struct Settings {
    /// TOML file with settings; a flag or an environment variable wins over it
    #[arg(long, value_name = "FILE", help_heading = "General")]
    pub(crate) config: Option<PathBuf>,

    /// Directory for all state of this process; one process per directory [default: /var/lib/goproxyd for root, else `$XDG_DATA_HOME/goproxyd`]
    #[arg(long, value_name = "DIR", help_heading = "General", required = false)]
    pub(crate) data_dir: PathBuf,

    /// Name of this node, in logs and traces [default: host name]
    #[arg(long, value_name = "NAME", help_heading = "General", required = false)]
    pub(crate) name: String,

    /// Failure domain that this node is in; in a cluster that of `node add --zone` counts
    #[arg(long, value_name = "NAME", help_heading = "General", default_value = ZONE_DEFAULT,
          value_parser = value::name::<Zone>)]
    pub(crate) zone: String,

    /// Region that this node is in
    #[arg(long, value_name = "NAME", help_heading = "General", default_value = "default",
          value_parser = value::name::<Datacenter>)]
    pub(crate) datacenter: String,

    /// Threads that serve requests [default: one per core]
    #[arg(long, value_name = "COUNT", help_heading = "General", required = false,
          value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub(crate) worker_threads: u32,

    /// Addresses to serve the GOPROXY protocol on, by HTTP or, with a certificate, HTTPS; `:PORT` means every address
    #[arg(long, value_name = "ADDRS", help_heading = "Listening", default_value = "127.0.0.1:8081",
          value_parser = value::addresses)]
    pub(crate) listen: std::vec::Vec<SocketAddr>,

    /// Addresses for the web console, /metrics, /healthz, /readyz, /version and /debug/; they ask for no credentials
    #[arg(long, value_name = "ADDRS", help_heading = "Listening", default_value = "127.0.0.1:8082",
          value_parser = value::addresses)]
    pub(crate) admin_listen: std::vec::Vec<SocketAddr>,

    /// Address for gRPC, between nodes and for goproxyctl; mutual TLS by the cluster's own authority
    #[arg(long, value_name = "ADDRS", help_heading = "Listening", default_value = "127.0.0.1:8083",
          value_parser = value::addresses)]
    pub(crate) rpc_listen: std::vec::Vec<SocketAddr>,

    /// PEM file with the certificate chain; read again when it changes
    #[arg(long, value_name = "FILE", help_heading = "Listening")]
    pub(crate) tls_cert: Option<PathBuf>,

    /// PEM file with the certificate's private key, not readable by everybody
    #[arg(long, value_name = "FILE", help_heading = "Listening")]
    pub(crate) tls_key: Option<PathBuf>,

    /// PEM file with authorities; clients must then show a certificate of theirs
    #[arg(long, value_name = "FILE", help_heading = "Listening")]
    pub(crate) tls_client_ca: Option<PathBuf>,

    /// How long clients shall insist on HTTPS (Strict-Transport-Security), 0 for no such header [default: 365d with a certificate]
    #[arg(long, value_name = "DURATION", help_heading = "Listening", required = false,
          value_parser = value::duration)]
    pub(crate) hsts_max_age: Duration,

    /// Connections open at once; for a further one, the client with the most gives up the one idle for longest, else it waits
    #[arg(long, value_name = "COUNT", help_heading = "Limits", default_value_t = 10_000,
          value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) max_connections: u32,

    /// Requests answered at once, three quarters of them for one client; further ones get 503
    #[arg(long, value_name = "COUNT", help_heading = "Limits", default_value_t = 10_000,
          value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) max_requests_in_flight: u32,

    /// Fetches from one upstream at once, three quarters of them for one client
    #[arg(long, value_name = "COUNT", help_heading = "Limits", default_value_t = 64,
          value_parser = clap::value_parser!(u32).range(1..=65_536))]
    pub(crate) max_fetches: u32,

    /// How long running answers may take to finish after SIGTERM or SIGINT
    #[arg(long, value_name = "DURATION", help_heading = "Limits", default_value = "30s",
          value_parser = value::duration)]
    pub(crate) drain_timeout: Duration,

    /// Where modules are fetched from, in GOPROXY's syntax: `,` goes on at 404 and 410, `|` at any error; URLs, file:// and `off`
    #[arg(long, value_name = "LIST", help_heading = "Upstream", default_value = value::UPSTREAM_DEFAULT,
          value_parser = value::read::<Chain>)]
    pub(crate) upstream: Chain,

    /// Private modules, in GOPRIVATE's syntax: never asked for at a public upstream or checksum database
    #[arg(long, value_name = "GLOBS", help_heading = "Upstream", default_value = "",
          value_parser = value::read::<GlobPatterns>)]
    pub(crate) private: GlobPatterns,

    /// PEM file with the authorities to trust when fetching [default: `$SSL_CERT_FILE`, else the system's]
    #[arg(long, value_name = "FILE", help_heading = "Upstream")]
    pub(crate) upstream_ca: Option<PathBuf>,

    /// Serve what is stored and fetch nothing; nothing is evicted, whatever --cache-size and the rules of retention say
    #[arg(long, value_name = "BOOL", help_heading = "Upstream", default_value = "false",
          default_missing_value = "true", num_args = 0..=1, require_equals = true,
          action = clap::ArgAction::Set, value_parser = BoolishValueParser::new())]
    pub(crate) offline: bool,

    /// How long a list of versions, @latest or a branch counts as fresh
    #[arg(long, value_name = "DURATION", help_heading = "Upstream", default_value = "60s",
          value_parser = value::duration)]
    pub(crate) list_ttl: Duration,

    /// Checksum database to verify against and to serve, in GOSUMDB's syntax: NAME or NAME+HASH+KEY, a URL after it, or `off`
    #[arg(long, value_name = "SUMDB", help_heading = "Checksum database", default_value = "sum.golang.org",
          value_parser = value::read::<SumSpec>)]
    pub(crate) sumdb: SumSpec,

    /// Modules not to verify, in GONOSUMDB's syntax [default: the value of --private]
    #[arg(long, value_name = "GLOBS", help_heading = "Checksum database", required = false,
          value_parser = value::read::<GlobPatterns>)]
    pub(crate) no_sumdb: GlobPatterns,

    /// What to do with a module while the checksum database cannot be asked
    #[arg(
        long,
        value_name = "CHOICE",
        help_heading = "Checksum database",
        value_enum,
        default_value = "refuse"
    )]
    pub(crate) sumdb_unavailable: SumdbUnavailable,

    /// Bytes on disk that evictable content may take
    #[arg(long, value_name = "SIZE", help_heading = "Storage", default_value = "50GiB",
          value_parser = value::read::<ByteSize>)]
    pub(crate) cache_size: ByteSize,

    /// Bound for the caches in memory, all kinds together
    #[arg(long, value_name = "SIZE", help_heading = "Storage", default_value = "256MiB",
          value_parser = value::read::<ByteSize>)]
    pub(crate) memory: ByteSize,

    /// What goes first when the cache is full
    #[arg(long, value_name = "POLICY", help_heading = "Storage", value_enum, default_value = "s3-fifo")]
    pub(crate) eviction: Eviction,

    /// Remove versions older than the newest so many of their module whose zip was fetched, 0 to remove none; --cache-size still bounds what stays
    #[arg(long, value_name = "COUNT", help_heading = "Storage", default_value_t = 0)]
    pub(crate) retain_newest: u32,

    /// Remove versions of which nothing was asked for within so many days, 0 to remove none; with --retain-newest, either rule keeps
    #[arg(long, value_name = "DURATION", help_heading = "Storage", default_value = "0s",
          value_parser = value::retention)]
    pub(crate) retain_accessed: Duration,

    /// Modules that are never evicted, in GOPRIVATE's syntax
    #[arg(long, value_name = "GLOBS", help_heading = "Storage", default_value = "",
          value_parser = value::read::<GlobPatterns>)]
    pub(crate) pin: GlobPatterns,

    /// Bytes a second that are copied from other nodes when slots move here
    #[arg(long, value_name = "SIZE", help_heading = "Storage", default_value = "100MiB",
          value_parser = value::rate)]
    pub(crate) handoff_rate: ByteSize,

    /// Bytes a second that are read, once a day, to find what was damaged on disk and make it whole; 0 for none
    #[arg(long, value_name = "SIZE", help_heading = "Storage", default_value = "4MiB",
          value_parser = value::read::<ByteSize>)]
    pub(crate) scrub_rate: ByteSize,

    /// HOST:PORT at which the other nodes reach --rpc-listen [default: its address; where that is every address, for `goproxyd data` this machine's towards the control nodes, else --name]
    #[arg(long, value_name = "HOST:PORT", help_heading = "Cluster", value_parser = value::read::<Address>)]
    pub(crate) rpc_advertise: Option<Address>,

    /// HOST:PORT at which clients and load balancers reach --listen [default: as for --rpc-advertise]
    #[arg(long, value_name = "HOST:PORT", help_heading = "Cluster", value_parser = value::read::<Address>)]
    pub(crate) advertise: Option<Address>,

    /// Control nodes of the cluster to join, HOST:PORT, several parted by commas; once this node has joined, it knows them by itself
    #[arg(long, value_name = "HOSTS", help_heading = "Cluster", value_parser = value::hosts)]
    pub(crate) join: Option<std::vec::Vec<Address>>,

    /// The one-time token that `goproxyctl node add` or `member add` printed; needed only the first time
    #[arg(long, value_name = "TOKEN", help_heading = "Cluster",
          value_parser = value::read::<Redacted<String>>)]
    pub(crate) join_token: Option<Redacted<String>>,

    /// How log lines look [default: text on a terminal, else json]
    #[arg(long, value_name = "FORMAT", help_heading = "Logs and traces", value_enum, required = false)]
    pub(crate) log_format: LogFormat,

    /// Least level to log (off, error, warn, info, debug, trace), or directives such as info,dataplane=debug
    #[arg(long, value_name = "LEVEL", help_heading = "Logs and traces", default_value = "info",
          value_parser = value::read::<LogDirectives>)]
    pub(crate) log_level: LogDirectives,

    /// Which requests get a log line
    #[arg(
        long,
        value_name = "CHOICE",
        help_heading = "Logs and traces",
        value_enum,
        default_value = "misses"
    )]
    pub(crate) access_log: AccessLog,

    /// Where to send traces and metrics by OTLP/gRPC, such as `http://127.0.0.1:4317` [default: nowhere]
    #[arg(long, value_name = "URL", help_heading = "Logs and traces", value_parser = value::otlp_endpoint)]
    pub(crate) otlp_endpoint: Option<String>,

    /// Share of traces to send, 0 to 1, unless the caller's trace context has decided
    #[arg(long, value_name = "RATIO", help_heading = "Logs and traces", default_value = "0.01",
          value_parser = value::ratio)]
    pub(crate) otlp_sample_ratio: f64,
}
