//! The command line of `repd`.

use clap::{Parser, ValueEnum};
use std::fmt;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::str::FromStr;
use std::thread;
use types::Span;

/// Where root's daemon keeps what is up, by default.
pub const STATE_DIR: &str = "/var/lib/repd";

/// A wait that is shorter than this is worth looking through: falling asleep and being woken takes 5 to 30
/// microseconds, and as long may the looking be in vain.
const BUSY_POLL: Span = Span::micros(50);

/// The replication daemon: one process per node, in the foreground; it logs to standard error.
///
/// It does nothing by itself after a boot: `repadm up RESOURCE` tells it what to do. Within one
/// boot, a restarted daemon brings back what was up.
#[derive(Clone, Debug, Parser)]
#[command(name = "repd", version)]
pub struct Options {
    /// Which host of the configuration this is, where it is not the host name
    #[arg(long, value_name = "NAME", env = "REPD_NODE")]
    pub node: Option<String>,
    /// Where it keeps what is up [default: /var/lib/repd, or repd below $XDG_STATE_HOME]
    #[arg(long, value_name = "DIR")]
    pub state_dir: Option<PathBuf>,
    /// Its control socket [default: /run/repd/control.sock, or repd below $XDG_RUNTIME_DIR]
    #[arg(long, value_name = "PATH", env = "REPD_CONTROL")]
    pub control: Option<PathBuf>,
    /// Where it serves NBD: unix:PATH or tcp:ADDR:PORT; may be given several times
    /// [default: unix:/run/repd/nbd.sock, or repd below $XDG_RUNTIME_DIR]
    #[arg(long, value_name = "WHERE")]
    pub nbd: Vec<NbdAddress>,
    /// Permission bits of those Unix sockets, as chmod takes them
    #[arg(long, value_name = "MODE", default_value = "0600", value_parser = mode)]
    pub nbd_mode: u32,
    /// The user, by name or number, that they belong to
    #[arg(long, value_name = "USER")]
    pub nbd_owner: Option<String>,
    /// The group, by name or number, that they belong to
    #[arg(long, value_name = "GROUP")]
    pub nbd_group: Option<String>,
    /// Whether `primary` attaches the device to this machine's kernel
    #[arg(long, value_enum, default_value_t = KernelAttach::Auto)]
    pub kernel_attach: KernelAttach,
    /// How many resyncs run at once; the others wait their turn [default: all]
    #[arg(long, value_name = "N")]
    pub max_parallel_resyncs: Option<NonZeroUsize>,
    /// How many microseconds the thread of a resource looks for the next event before it sleeps, while
    /// events come that fast [default: 50; 0, never, where there is one processor]
    #[arg(long, value_name = "MICROSECONDS", value_parser = clap::value_parser!(u32).range(..=1000))]
    pub busy_poll: Option<u32>,
    /// The form of the log
    #[arg(long, value_enum, default_value_t = LogFormat::Text)]
    pub log: LogFormat,
}

/// Whether `primary` attaches the device to the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum KernelAttach {
    /// Where the driver and the rights are there
    Auto,
    /// Never
    Off,
}

/// The form of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// A line an event, for people
    Text,
    /// A JSON object an event
    Json,
}

/// Where NBD is served.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum NbdAddress {
    /// On a Unix socket.
    Unix(PathBuf),
    /// On a TCP port.
    Tcp(SocketAddr),
}

impl FromStr for NbdAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once(':') {
            Some(("unix", "")) => Err("a path is missing after «unix:»".into()),
            Some(("unix", path)) => Ok(Self::Unix(path.into())),
            Some(("tcp", address)) => address.parse().map(Self::Tcp).map_err(|_| {
                format!("«{address}» is not ADDR:PORT, for instance 127.0.0.1:10809 or [::]:10809")
            }),
            _ => Err("it must be unix:PATH or tcp:ADDR:PORT".into()),
        }
    }
}

impl fmt::Display for NbdAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::Tcp(address) => write!(f, "tcp:{address}"),
        }
    }
}

impl NbdAddress {
    /// The URI of an export that is served there, within TLS or in the clear.
    pub fn uri(&self, export: &str, tls: bool) -> String {
        let scheme = if tls { "nbds" } else { "nbd" };
        match self {
            Self::Unix(path) => format!("{scheme}+unix:///{export}?socket={}", path.display()),
            Self::Tcp(address) => format!("{scheme}://{address}/{export}"),
        }
    }
}

/// Permission bits, by the rules of the configuration.
fn mode(text: &str) -> Result<u32, String> {
    config::file_mode(text)
}

/// Where things are, after defaults.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Paths {
    /// See [`Options::state_dir`].
    pub state_dir: PathBuf,
    /// See [`Options::control`].
    pub control: PathBuf,
    /// Where NBD is served unless a resource says otherwise.
    pub nbd: Vec<NbdAddress>,
    /// Whether `nbd` was asked for on the command line, so that no configuration adds to it.
    pub nbd_is_fixed: bool,
}

impl Options {
    /// See [`busy_poll`](Self::busy_poll), with its default.
    pub fn busy_poll(&self) -> Span {
        let is_alone = || thread::available_parallelism().is_ok_and(|number| number.get() == 1);
        let default = || if is_alone() { Span(0) } else { BUSY_POLL };
        self.busy_poll.map_or_else(default, |micros| Span::micros(micros.into()))
    }

    /// The paths, with the defaults of root or of another user filled in.
    pub fn paths(&self, is_root: bool, environment: impl Fn(&str) -> Option<PathBuf>) -> Paths {
        let (state, run) = match is_root {
            true => (STATE_DIR.into(), PathBuf::from("/run/repd")),
            false => {
                let state = environment("XDG_STATE_HOME")
                    .or_else(|| environment("HOME").map(|home| home.join(".local/state")))
                    .unwrap_or_else(|| "/tmp".into())
                    .join("repd");
                let run = environment("XDG_RUNTIME_DIR").map(|dir| dir.join("repd"));
                (state.clone(), run.unwrap_or(state))
            }
        };
        Paths {
            state_dir: self.state_dir.clone().unwrap_or(state),
            control: self.control.clone().unwrap_or_else(|| run.join("control.sock")),
            nbd: match self.nbd.is_empty() {
                true => vec![NbdAddress::Unix(run.join("nbd.sock"))],
                false => self.nbd.clone(),
            },
            nbd_is_fixed: !self.nbd.is_empty(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_nbd_address_is_read_or_explained() {
        for text in ["unix:/run/x.sock", "tcp:127.0.0.1:10809", "tcp:[::1]:1"] {
            assert_eq!(text.parse::<NbdAddress>().unwrap().to_string(), text);
        }
        for text in ["unix:", "tcp:localhost", "tcp:1.2.3.4", "/run/x.sock", "udp:1.2.3.4:5"] {
            assert!(text.parse::<NbdAddress>().is_err(), "{text}");
        }
        let unix: NbdAddress = "unix:/run/x.sock".parse().unwrap();
        assert_eq!(unix.uri("r0/0", false), "nbd+unix:///r0/0?socket=/run/x.sock");
        assert_eq!(unix.uri("r0", true), "nbds+unix:///r0?socket=/run/x.sock");
        let tcp: NbdAddress = "tcp:[::1]:10809".parse().unwrap();
        assert_eq!(tcp.uri("r0", false), "nbd://[::1]:10809/r0");
        assert_eq!(tcp.uri("r0", true), "nbds://[::1]:10809/r0");
    }

    #[test]
    fn the_mode_of_sockets_is_that_of_the_configuration() {
        let mode = |mode| Options::try_parse_from(["repd", "--nbd-mode", mode]);
        assert_eq!(mode("660").unwrap().nbd_mode, 0o660);
        let error = mode("0060").unwrap_err().to_string();
        assert!(error.contains("write `0660`"), "{error}");
        assert_eq!(Options::parse_from(["repd"]).nbd_mode, 0o600);
    }

    #[test]
    fn looking_before_sleeping_is_bounded() {
        let options = |micros| Options::try_parse_from(["repd", "--busy-poll", micros]);
        assert_eq!(options("0").unwrap().busy_poll(), Span(0));
        assert_eq!(options("1000").unwrap().busy_poll(), Span::millis(1));
        assert!(options("1001").is_err());
        let default = Options::parse_from(["repd"]).busy_poll();
        assert!(
            [Span(0), BUSY_POLL].contains(&default),
            "by the number of processors: {default:?}"
        );
    }

    #[test]
    fn defaults_are_those_of_the_user() {
        let options = Options::parse_from(["repd"]);
        let root = options.paths(true, |_| None);
        assert_eq!(root.control, PathBuf::from("/run/repd/control.sock"));
        assert_eq!(root.nbd, [NbdAddress::Unix("/run/repd/nbd.sock".into())]);
        let user = options.paths(false, |name| Some(format!("/x/{name}").into()));
        assert_eq!(user.state_dir, PathBuf::from("/x/XDG_STATE_HOME/repd"));
        assert_eq!(user.control, PathBuf::from("/x/XDG_RUNTIME_DIR/repd/control.sock"));
        let home = options.paths(false, |name| (name == "HOME").then(|| "/home/a".into()));
        assert_eq!(home.control, PathBuf::from("/home/a/.local/state/repd/control.sock"));
        let given = Options::parse_from(["repd", "--nbd", "tcp:127.0.0.1:1", "--control", "/c"]);
        let given = given.paths(true, |_| None);
        assert_eq!(given.control, PathBuf::from("/c"));
        assert!(given.nbd_is_fixed && given.nbd.len() == 1);
    }
}
