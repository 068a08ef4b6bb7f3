//! What must fit together in `nbd { … }`.

use super::options::Chain;
use crate::diagnostic::Diagnostic;
use crate::model::NbdTls;
use crate::options::Section;

/// What is wrong with the settings that a resource has, its own and inherited.
pub(super) fn check(resource: &str, chain: &Chain<'_>) -> Vec<Diagnostic> {
    let mut said = Vec::new();
    let tls: NbdTls = chain.word(Section::Nbd, "tls");
    if let Some(setting) = chain.setting("tls")
        && tls != NbdTls::Off
        && chain.setting("tls-certificates").is_none()
    {
        let text = format!("`tls {tls}` without `tls-certificates`");
        said.push(
            Diagnostic::error(setting.span, text)
                .label(format!("resource `{resource}` has no certificates"))
                .note("the server must prove itself to its clients")
                .help(
                    "set `tls-certificates DIR;` in the same `nbd { … }`, with server-cert.pem \
                     and server-key.pem in that directory",
                ),
        );
    }
    for name in ["unix-mode", "unix-owner", "unix-group"] {
        if let Some(setting) = chain.setting(name)
            && chain.setting("unix").is_none()
        {
            said.push(
                Diagnostic::error(setting.span, format!("`{name}` without `unix`"))
                    .label(format!("resource `{resource}` asks for no Unix socket of its own"))
                    .help(
                        "set `unix PATH;` in the same `nbd { … }`; the socket that the daemon has \
                         by itself is set by `repd --nbd-mode`, `--nbd-owner` and `--nbd-group`",
                    ),
            );
        }
    }
    said
}
