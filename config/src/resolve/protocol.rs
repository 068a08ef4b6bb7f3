//! Whether `protocol` goes with what else is said about the connection.

use super::options::Chain;
use crate::diagnostic::Diagnostic;
use crate::model::OnCongestion;
use crate::options::Section;
use crate::value::Value;

/// What is wrong with the protocol of a resource, if anything, by the chain of its section `net`.
pub(super) fn check(net: &Chain<'_>) -> Option<Diagnostic> {
    let protocol = net.setting("protocol");
    let letter = protocol.and_then(|setting| match &setting.value {
        Value::Text(letter) => Some(letter.as_str()),
        _ => None,
    });
    if let Some(letter @ ("A" | "B")) = letter
        && let (Some(protocol), Some(two)) = (protocol, net.setting("allow-two-primaries"))
        && net.flag(Section::Net, "allow-two-primaries")
    {
        let text = format!("`protocol {letter}` does not go with `allow-two-primaries`");
        return Some(
            Diagnostic::error(protocol.span, text)
                .related(two.span, "two Primaries")
                .note(
                    "a write would be answered on one node while the other still reads what was \
                     there before",
                )
                .help("use `protocol C`, or remove `allow-two-primaries`"),
        );
    }
    let ahead = net.setting("on-congestion")?;
    let policy: OnCongestion = net.word(Section::Net, "on-congestion");
    if policy == OnCongestion::PullAhead && letter != Some("A") {
        let text = "`on-congestion pull-ahead` goes with `protocol A` only";
        let said = Diagnostic::error(ahead.span, text).note(
            "with the other protocols a write that is answered is at the peer; one that only \
             this node has would break that",
        );
        let said = match protocol {
            Some(protocol) => said.related(protocol.span, "the protocol"),
            None => said,
        };
        return Some(said.help("use `protocol A`, or `on-congestion block`"));
    }
    let limited = net.number(Section::Net, "congestion-fill") > 0
        || net.setting("congestion-extents").is_some();
    if policy != OnCongestion::Block && !limited {
        let text = format!(
            "`on-congestion {policy}` without `congestion-fill`: the link counts as congested by \
             the number of extents only"
        );
        return Some(
            Diagnostic::warning(ahead.span, text)
                .help("set `congestion-fill` to a little less than the link holds on its way"),
        );
    }
    None
}
