//! The log: standard error, a line an event.

use crate::options::LogFormat;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt;
use tracing_subscriber::util::SubscriberInitExt;

/// Sets the log up for this process. `REPD_LOG` chooses levels as `RUST_LOG` does elsewhere; the
/// default is everything from `info` on.
pub(crate) fn start(format: LogFormat) {
    let filter = EnvFilter::try_from_env("REPD_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    let log = fmt().with_writer(std::io::stderr).with_env_filter(filter).with_target(false);
    let colour = std::io::IsTerminal::is_terminal(&std::io::stderr());
    let started = match format {
        LogFormat::Text => log.with_ansi(colour).finish().try_init(),
        LogFormat::Json => log.json().flatten_event(true).with_span_list(false).finish().try_init(),
    };
    if started.is_err() {
        tracing::debug!("this process has a log already");
    }
}
